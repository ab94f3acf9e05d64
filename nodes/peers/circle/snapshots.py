"""Give the newest snapshot of a scope: to children the node's own, to siblings their parent's.

Both are public in their circle, and signed: a node gives its parent's snapshot as it got it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from nodes.errors import NodeError
from nodes.state.artefacts import ArtefactError
from nodes.state.node import Node
from nodes.state.records import HeldRelease
from protocol import Code, Digest, Scope
from protocol.peer_pb2 import WatchReply, WatchRequest

log = structlog.get_logger()

LONGEST_WAIT_S = 30.0
"""How long a question waits for a snapshot that the asker does not have."""


@dataclass(frozen=True)
class SignedChain:
    """A sealed snapshot and the sealed releases that it lists, root first."""

    sequence: int
    snapshot: bytes
    releases: tuple[bytes, ...]

    def reply(self) -> WatchReply:
        """Write it for another node."""
        return WatchReply(snapshot=self.snapshot, releases=self.releases)


@dataclass(frozen=True, eq=False)
class _Waiter:
    """A question that waits, and the event loop on which it does."""

    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event


class SnapshotService:
    """The snapshots that one node gives: of its parent's scope, and of its own if it has children.

    Args:
        wait_s: how long a question waits for news.
    """

    def __init__(self, node: Node, wait_s: float = LONGEST_WAIT_S) -> None:
        self._node, self._wait_s = node, wait_s
        self._lock = threading.Lock()
        self._waiters: set[_Waiter] = set()
        self._read: dict[str, tuple[Digest, SignedChain]] = {}
        """What was read last of each scope, by the digest of the snapshot."""

    def notify(self) -> None:
        """Let the waiting questions look again: a chain was installed, or released. Thread-safe."""
        with self._lock:
            waiters = list(self._waiters)
        for waiter in waiters:
            with contextlib.suppress(RuntimeError):  # its loop has ended
                waiter.loop.call_soon_threadsafe(waiter.woken.set)

    async def watch(self, scope: Scope, have: int) -> SignedChain | None:
        """Wait until there is a snapshot of ``scope`` above sequence ``have``; None if none came.

        Raises ``NodeError`` ``wrong-scope`` for a scope of which this node gives none.
        """
        loop = asyncio.get_running_loop()
        waiter, until = _Waiter(loop, asyncio.Event()), loop.time() + self._wait_s
        with self._lock:
            self._waiters.add(waiter)
        try:
            while True:
                waiter.woken.clear()
                # The state is read under the node's lock, for which the loop must not wait.
                newest = await asyncio.to_thread(self.newest, scope)
                if newest and newest.sequence > have:
                    return newest
                try:
                    async with asyncio.timeout_at(until):
                        await waiter.woken.wait()
                except TimeoutError:
                    return None
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    async def watch_snapshot(self, _caller: object, request: WatchRequest) -> WatchReply:
        """Answer ``WatchSnapshot``. Raises ``Refused`` for a scope that is none, and as
        ``watch``."""
        newest = await self.watch(Scope(request.scope), request.have)
        return newest.reply() if newest else WatchReply()

    def newest(self, scope: Scope) -> SignedChain | None:
        """Return the newest snapshot of a scope; None if there is none yet, or it is damaged.

        Raises ``NodeError`` ``wrong-scope``.
        """
        home = self._node.home
        try:
            if home.parent is not None and scope == home.parent.scope:
                return self._of_parent(str(scope))
            if scope == home.scope and not home.is_device:
                return self._own(str(scope))
        except ArtefactError as error:
            log.warning("snapshot-not-given", scope=str(scope), code=error.code)
            return None
        raise NodeError(
            Code.WRONG_SCOPE.value, f"{home.scope} gives no snapshots of {scope}, only of its own."
        )

    def _of_parent(self, scope: str) -> SignedChain | None:
        with self._node.lock:
            above = self._node.state.above
            snapshot, envelope, sequence = above.snapshot, above.envelope, above.sequence
            links = above.links
        if snapshot is None or envelope is None:
            return None
        known = self._read.get(scope)
        if known is None or known[0] != snapshot:
            stored = self._node.artefacts.get(envelope)
            known = snapshot, SignedChain(sequence, stored, self._releases(links))
            self._read[scope] = known
        return known[1]

    def _own(self, scope: str) -> SignedChain | None:
        with self._node.lock:
            signed, state = self._node.snapshot(), self._node.state
            own = state.own.latest
            links = (*state.above.links, own) if own else ()
        if signed is None:
            return None
        snapshot, envelope = signed
        known = self._read.get(scope)
        if known is None or known[0] != envelope.digest:
            releases = self._releases(links)
            known = envelope.digest, SignedChain(snapshot.sequence, envelope.encode(), releases)
            self._read[scope] = known
        return known[1]

    def _releases(self, links: Iterable[HeldRelease]) -> tuple[bytes, ...]:
        return tuple(self._node.artefacts.get(link.envelope) for link in links)
