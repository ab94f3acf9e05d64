"""Flower's fleet API as an ASGI app: what Flower's own does, without its web framework.

The guard has read and checked each request before. Flower's router takes 6 ms of a processor for a
request, mostly in middleware; this takes a fraction of that, and hands large objects to the socket
as they are stored. A question for messages may wait for one (``WAIT_HEADER``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import structlog

from nodes.flower.bells import Bell, Bells

log = structlog.get_logger()

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

PULL_MESSAGES = "/v1/fleet/pull-messages"
REQUEST = "banyan.request"
"""Where in the scope the request lies, parsed."""
WAIT_HEADER = "banyan-wait"
"""In a question for messages: seconds that the parent may let it wait. An older one does not."""
MOST_WAIT_S = 20.0

Parts = Sequence[bytes]
"""The body of an answer; what is large is not copied. Empty: there is nothing."""
Handler = Callable[[Any], Parts]

_PIECE = 64 * 1024
"""Bytes that are handed to the socket at a time: the next when these are on their way."""
_LARGE = 1024 * 1024
"""A request of so many bytes is handled in a thread: its digest takes a while."""


class FleetApi:
    """The app.

    Args:
        handlers: by path what answers a parsed request.
        explain: what a handler's error is to the child: a status, and JSON.
        bells: rung when there is a message for a node.
    """

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        explain: Callable[[Exception], tuple[int, Mapping[str, Any]]],
        bells: Bells,
    ) -> None:
        self._handlers, self._explain, self._bells = handlers, explain, bells

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that the guard let in."""
        path, request = scope["path"], scope[REQUEST]
        handler = self._handlers[path]
        parts: Parts | None
        try:
            if path == PULL_MESSAGES:
                parts = await self._first(handler, request, _wait_s(scope), receive)
            elif request.ByteSize() >= _LARGE:
                parts = await asyncio.to_thread(handler, request)
            else:
                parts = handler(request)
        except Exception as error:
            status, body = self._explain(error)
            await _answer(send, status, b"application/json", [json.dumps(body).encode()])
            return
        if parts is not None:
            await _answer(send, 200, b"application/protobuf", parts)

    async def _first(
        self, handler: Handler, request: Any, wait_s: float, receive: Receive
    ) -> Parts | None:
        """Return the first message that there is for a node within a time; None: the node left."""
        until = asyncio.get_running_loop().time() + wait_s
        with self._bells.hung(request.node.node_id) as bell:
            left = asyncio.ensure_future(_left(receive)) if wait_s else None
            try:
                while True:
                    bell.rung.clear()
                    parts = handler(request)
                    if parts or left is None or bell.over:
                        return parts
                    if not await _rings(bell, left, until):
                        return None if left.done() else parts
            finally:
                if left is not None:
                    left.cancel()


async def _rings(bell: Bell, left: asyncio.Future[None], until: float) -> bool:
    """Wait for a bell; False when the time is over or the node has left."""
    rung = asyncio.ensure_future(bell.rung.wait())
    either: set[asyncio.Future[Any]] = {rung, left}
    try:
        seconds = until - asyncio.get_running_loop().time()
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return rung.done() and not left.done()
    finally:
        rung.cancel()


async def _left(receive: Receive) -> None:
    """Return when the other end closes the connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _wait_s(scope: Scope) -> float:
    value = dict(scope["headers"]).get(WAIT_HEADER.encode(), b"")
    return min(float(value), MOST_WAIT_S) if value.isdigit() else 0.0


async def _answer(send: Send, status: int, kind: bytes, parts: Parts) -> None:
    size = sum(map(len, parts))
    head = [(b"content-type", kind), (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": status, "headers": head})
    for part in parts:
        view = memoryview(part)
        for at in range(0, len(view), _PIECE):
            piece = bytes(view[at : at + _PIECE])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
