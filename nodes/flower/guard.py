"""The door of a parent: an ASGI guard in front of Flower's app.

Flower authenticates a connection's key and little else: its control routes answer anyone, a signed
header can be used again for minutes, and a node may answer for another. The guard lets through only
the fleet routes that a child needs, from keys that are enrolled, each signed header once, bodies of
bounded size, and replies only in the sender's own name. It knows no flwr; what it must ask of
Flower comes in as functions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/v1/fleet/"
ROUTES = frozenset(
    PREFIX + name
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
MAX_BODY = 8 * 1024 * 1024
"""Bytes of one request: Flower sends objects in pieces of 5 MiB."""
REMEMBER_S = 600.0
"""Seconds for which a signed header is remembered; Flower would accept it for less."""
MAX_REMEMBERED = 200_000


@dataclass
class Traffic:
    """Bytes of bodies that came in and went out."""

    bytes_in: int = 0
    bytes_out: int = 0


class Closed(Exception):
    """The door stays closed: an HTTP status, a stable code, and what it was about."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(code)
        self.status, self.code, self.detail = status, code, detail


@dataclass
class Checks:
    """What the guard asks of Flower.

    ``authenticate`` returns the node id of the key that signed the headers, or raises ``Closed``;
    ``senders`` lists the node ids in whose names a body of pushed messages speaks.
    """

    authenticate: Callable[[MutableMapping[str, str]], int]
    senders: Callable[[bytes], Iterable[int]]
    signature_header: str


class Guard:
    """Wraps the app. ``on_refused(code, detail)`` hears of everything that is not let in."""

    def __init__(
        self, app: App, checks: Checks, on_refused: Callable[[str, str], None], traffic: Traffic
    ) -> None:
        self._app, self._checks = app, checks
        self._on_refused, self._traffic = on_refused, traffic
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._admit(scope, receive)
        except Closed as closed:
            self._on_refused(closed.code, closed.detail)
            await _answer(send, closed.status)
            return
        self._traffic.bytes_in += len(body)
        await self._app(scope, _replay(body, receive), self._counting(send))

    async def _admit(self, scope: Scope, receive: Receive) -> bytes:
        path = _exact_path(scope)
        if scope["type"] != "http" or scope["method"] != "POST" or path not in ROUTES:
            raise Closed(404, "path-not-exposed", path[:80])
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        node = self._checks.authenticate(headers)
        self._once(headers[self._checks.signature_header])
        body = await _read(receive)
        if path == PREFIX + "push-messages" and any(s != node for s in self._checks.senders(body)):
            raise Closed(403, "wrong-sender", f"node {node} answered for another")
        return body

    def _once(self, signature: str) -> None:
        """Each request is signed anew; a signature that comes twice was copied."""
        now = time.monotonic()
        with self._lock:
            if signature in self._seen:
                raise Closed(401, "replayed-request", "a signed header came a second time")
            if len(self._seen) >= MAX_REMEMBERED:
                self._seen = {s: t for s, t in self._seen.items() if now - t < REMEMBER_S}
            self._seen[signature] = now

    def _counting(self, send: Send) -> Send:
        async def counted(message: MutableMapping[str, Any]) -> None:
            self._traffic.bytes_out += len(message.get("body", b""))
            await send(message)

        return counted


def _exact_path(scope: Scope) -> str:
    """The path as it was sent, before anything decoded or shortened it."""
    raw: bytes = scope.get("raw_path") or scope.get("path", "").encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    return path if path == scope.get("path") else f"{path} (not plain)"


async def _read(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Closed(400, "disconnected", "the body ended early")
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            raise Closed(413, "too-large", f"a body of over {MAX_BODY} bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Give the app the body that was read, then whatever comes after."""
    given = False

    async def replayed() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _answer(send: Send, status: int) -> None:
    headers = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
