"""The connections that children keep open: what a parent tells at once, instead of being asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import structlog

from nodes.peers.wire.caller import Caller
from protocol import NodeId, peer_pb2

log = structlog.get_logger()

_MOST_WAITING = 4
"""Notices that wait for one child; each says all that the ones before said."""


_Notices = asyncio.Queue[peer_pb2.ParentSays | None]
"""What waits for one connection; None ends it."""


class Attendance:
    """The children that are connected. Its methods run on the peer server's event loop.

    Args:
        on_ready: told of a child that has something to send.
        now: what every child is told when it connects: the newest snapshot and circle.
    """

    def __init__(
        self, on_ready: Callable[[NodeId], None], now: Callable[[], peer_pb2.ParentSays]
    ) -> None:
        self._on_ready, self._now = on_ready, now
        self._queues: dict[NodeId, set[_Notices]] = {}

    @property
    def present(self) -> frozenset[NodeId]:
        """The children that are connected. Thread-safe."""
        return frozenset(child for child, queues in list(self._queues.items()) if queues)

    async def attend(
        self, caller: Caller, said: AsyncIterator[peer_pb2.ChildSays]
    ) -> AsyncIterator[peer_pb2.ParentSays]:
        """Answer one connection for as long as it is open."""
        queue: _Notices = asyncio.Queue(_MOST_WAITING)
        queues = self._queues.setdefault(caller.member, set())
        queues.add(queue)
        ended = asyncio.ensure_future(self._listen(caller, said))
        ended.add_done_callback(lambda _: _put(queue, None))
        try:
            # In a thread: it may sign the circle anew, or wait for the base to be described.
            yield await asyncio.to_thread(self._now)
            while (notice := await queue.get()) is not None:
                yield notice
            await ended
        finally:
            ended.cancel()
            queues.discard(queue)

    def tell(self, notice: peer_pb2.ParentSays, child: NodeId | None = None) -> None:
        """Tell one child, or all of them."""
        children = [child] if child is not None else list(self._queues)
        for queue in (queue for one in children for queue in self._queues.get(one, ())):
            _put(queue, notice)

    async def _listen(self, caller: Caller, said: AsyncIterator[peer_pb2.ChildSays]) -> None:
        async for message in said:
            if message.ready:
                with suppress(RuntimeError):
                    self._on_ready(caller.member)


def _put(queue: _Notices, notice: peer_pb2.ParentSays | None) -> None:
    """Put a notice into a queue, in place of the oldest where it is full."""
    if queue.full():
        queue.get_nowait()
    queue.put_nowait(notice)
