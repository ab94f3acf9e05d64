"""The guard at a parent's door: check every request before Flower sees any of it.

It keeps these rules, cheap ones first, and reports each refusal with a stable code:

- only the routes of Flower's fleet API that a child needs exist, each by its exact path; every
  other path, encoded, dotted, doubled or absolute, is 404 (``path-not-exposed``);
- the request is signed with an admitted key, before any of its body is read
  (``unknown-transport-key``, ``bad-transport-signature``);
- its time is about that of the door (``clock-differs``), which every answer names: a child whose
  clock is wrong stamps the next one right;
- a signed header counts once (``replayed-request``): Flower's own signature covers a timestamp
  only and would be good for minutes;
- a body is no larger than its route needs, all objects of one answer together no larger than a
  message may be (``too-large``), and it arrives in time (``too-slow``); of objects only so many
  bytes are on their way at once, the others wait for their turn;
- what the body claims is what the key's owner may claim; that needs Flower's messages and is asked
  of ``inspect`` (``wrong-sender``, ``unexpected-answer``, ``not-yours``, ``malformed``).

It knows nothing of what messages mean; that is for the envelopes inside.
"""

from __future__ import annotations

import asyncio
import binascii
import datetime
import heapq
import json
import threading
from base64 import b64decode
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from nodes.flower.byte_budget import ByteBudget
from nodes.flower.errors import Refusal
from nodes.flower.fleet_api import REQUEST
from nodes.flower.parent_clock import TIME_HEADER, DoorClock
from nodes.flower.traffic import Meter, head_bytes
from nodes.machine.clock import Clock
from nodes.trust.transport_keys import canonical_pem, flower_node_id
from protocol import LIMITS, load_transport_key

log = structlog.get_logger()

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PREFIX = "/v1/fleet/"
PUSH_OBJECT = PREFIX + "push-object"
PUSH_MESSAGES = PREFIX + "push-messages"
ROUTES = frozenset(
    {
        PREFIX + "activate-node",
        PREFIX + "deactivate-node",
        PREFIX + "send-node-heartbeat",
        PREFIX + "pull-messages",
        PREFIX + "pull-object",
        PREFIX + "confirm-message-received",
        PUSH_MESSAGES,
        PUSH_OBJECT,
    }
)

KEY_HEADER, SIGNATURE_HEADER, STAMP_HEADER = (
    b"flwr-public-key",
    b"flwr-signature",
    b"flwr-timestamp",
)


@dataclass(frozen=True)
class DoorLimits:
    """The bytes, seconds (``_s``) and counts that the door allows."""

    request_bytes: int = 64 * 1024
    object_bytes: int = 6 * 1024 * 1024  # Flower cuts arrays into pieces of 5 MiB
    message_bytes: int = LIMITS.payload_bytes + 1024 * 1024
    objects: int = 64  # in one message
    body_s: float = 60.0
    # A signature is good this long by the door's time, and may be this far in the future.
    signature_age_s: float = 305.0
    signature_ahead_s: float = 5.0
    remembered: int = 4096  # timestamps of one key
    uploads_bytes: int = 32 * 1024 * 1024  # of objects that are read at one time


class Timestamps:
    """The used timestamps of one key. Bounded: below the oldest one kept, all count as used.

    Args:
        bound: how many are kept.
        floor: this moment and all before it count as used.

    It remembers the time and not the signature, since anyone can turn one valid ECDSA signature
    into another.
    """

    def __init__(self, bound: int, floor: datetime.datetime | None = None) -> None:
        self._bound = bound
        self._heap: list[datetime.datetime] = []
        self._used: set[datetime.datetime] = set()
        self._floor = floor

    def use(self, moment: datetime.datetime) -> bool:
        """Mark this moment as used; return whether it was not used before."""
        if moment in self._used or (self._floor is not None and moment <= self._floor):
            return False
        self._used.add(moment)
        heapq.heappush(self._heap, moment)
        if len(self._heap) > self._bound:
            self._floor = heapq.heappop(self._heap)
            self._used.discard(self._floor)
        return True


@dataclass
class Member:
    """The holder of an admitted key, and the requests it may still send."""

    node: int
    key: ec.EllipticCurvePublicKey
    timestamps: Timestamps
    objects_left: int = field(default=0)


class Guard:
    """An ASGI app in front of Flower's.

    Args:
        app: Flower's.
        inspect: parses the body of a request of this node, for the app; raises ``Refusal``.
        on_refused: told of every refusal, on the server's thread: a code and a short detail.
        meter: counts the traffic, refused requests included.
        clock: the machine's, from which the door's time starts.
    """

    def __init__(
        self,
        app: App,
        inspect: Callable[[str, bytes, int], object],
        on_refused: Callable[[str, str], None],
        meter: Meter,
        limits: DoorLimits,
        clock: Clock | None = None,
    ) -> None:
        self._clock = DoorClock(clock)
        self._app, self._inspect, self._on_refused = app, inspect, on_refused
        self._meter, self._limits = meter, limits
        self._lock = threading.Lock()
        self._members: dict[bytes, Member] = {}
        self._uploads = ByteBudget(limits.uploads_bytes)

    def admit(self, public_pem: bytes) -> int:
        """Admit the holder of this key; return its Flower node id."""
        pem, node = canonical_pem(public_pem), flower_node_id(public_pem)
        with self._lock:
            if pem not in self._members:
                # What was signed before this door opened may have been used at an earlier one.
                timestamps = Timestamps(self._limits.remembered, self._clock.start)
                self._members[pem] = Member(node, load_transport_key(pem), timestamps)
        return node

    def remove(self, node: int) -> None:
        """Shut this node out."""
        with self._lock:
            self._members = {pem: m for pem, m in self._members.items() if m.node != node}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        head: list[tuple[bytes, bytes]] = scope["headers"]
        line = len(scope["raw_path"]) + len(scope["method"]) + len(" HTTP/1.1\r\n")
        self._meter.add(bytes_in=head_bytes(head, line))

        async def counted(event: Event) -> None:
            if event["type"] == "http.response.start":
                first_line = len("HTTP/1.1 200 OK\r\n")
                named = (TIME_HEADER.encode(), self._clock.header())
                event = {**event, "headers": [*event.get("headers", ()), named]}
                self._meter.add(bytes_out=head_bytes(event["headers"], first_line))
            else:
                self._meter.add(bytes_out=len(event.get("body", b"")))
            await send(event)

        try:
            path = self._path(scope)
            member = self._authenticate(dict(head))
            if path == PUSH_OBJECT:
                async with self._uploads.reserve(self._expected(member, dict(head))):
                    await self._pass_on(path, member, scope, receive, counted)
            else:
                await self._pass_on(path, member, scope, receive, counted)
        except Refusal as refusal:
            self._report(refusal, scope)
            await _say_no(refusal, counted)

    async def _pass_on(
        self, path: str, member: Member, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Read a member's request, check it, and let Flower answer it."""
        body = await self._read(path, dict(scope["headers"]), member, receive)
        scope = {**scope, REQUEST: self._inspect(path, body, member.node)}
        del body
        if path == PUSH_MESSAGES:
            member.objects_left = self._limits.message_bytes
        await self._app(scope, receive, send)

    def _expected(self, member: Member, head: dict[bytes, bytes]) -> int:
        """Return how many bytes of an object will be read at most; a longer one is refused."""
        declared, allowed = head.get(b"content-length", b""), self._allowed(PUSH_OBJECT, member)
        return min(int(declared), allowed) if declared.isdigit() else allowed

    def _allowed(self, path: str, member: Member) -> int:
        """Return the most bytes that the body of a request may have now."""
        allowed = self._limits.request_bytes
        if path == PUSH_OBJECT:
            allowed = min(self._limits.object_bytes, member.objects_left + allowed)
        return allowed

    def _path(self, scope: Scope) -> str:
        """Return the request's path if it is one of the routes, byte for byte."""
        path = bytes(scope["raw_path"]).decode("latin-1")
        if scope["method"] != "POST" or path not in ROUTES or scope["query_string"]:
            raise Refusal(404, "path-not-exposed", "This path is not open to other machines.")
        return path

    def _authenticate(self, head: dict[bytes, bytes]) -> Member:
        """Find the member who signed this request."""
        try:
            pem = b64decode(head.get(KEY_HEADER, b""), validate=True)
        except binascii.Error:
            pem = b""
        member = self._members.get(pem)
        if member is None:
            raise Refusal(401, "unknown-transport-key", "No member of this node has this key.")
        stamp = head.get(STAMP_HEADER, b"")
        try:
            signature = b64decode(head.get(SIGNATURE_HEADER, b""), validate=True)
            member.key.verify(signature, stamp, ec.ECDSA(hashes.SHA256()))
            moment = datetime.datetime.fromisoformat(stamp.decode("ascii"))
            age = (self._clock.now() - moment).total_seconds()
        except (InvalidSignature, ValueError, TypeError):
            raise Refusal(
                401, "bad-transport-signature", "The signature does not verify."
            ) from None
        if not -self._limits.signature_ahead_s < age < self._limits.signature_age_s:
            raise Refusal(
                401,
                "clock-differs",
                "The signature was made at another time: the clocks of both nodes differ.",
            )
        if not member.timestamps.use(moment):
            raise Refusal(401, "replayed-request", "This signed request was seen before.")
        return member

    async def _read(
        self, path: str, head: dict[bytes, bytes], member: Member, receive: Receive
    ) -> bytes:
        """Read the body, up to the route's limit."""
        allowed = self._allowed(path, member)
        too_large = Refusal(413, "too-large", "The request is larger than its route allows.")
        declared = head.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > allowed:
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_s):
                while True:
                    event = await receive()
                    if event["type"] == "http.disconnect":
                        raise Refusal(400, "malformed", "The connection ended within a request.")
                    body += event.get("body", b"")
                    self._meter.add(bytes_in=len(event.get("body", b"")))
                    if len(body) > allowed:
                        raise too_large
                    if not event.get("more_body", False):
                        break
        except TimeoutError:
            raise Refusal(408, "too-slow", "The request took too long to arrive.") from None
        if path == PUSH_OBJECT:
            member.objects_left = max(0, member.objects_left - len(body))
        return bytes(body)

    def _report(self, refusal: Refusal, scope: Scope) -> None:
        host = (scope.get("client") or ("unknown",))[0]
        self._on_refused(refusal.code, f"{refusal.sentence} From {host}, {_kind(scope)}.")


def _kind(scope: Scope) -> str:
    """Name the route, or the sort of path: an intruder must not choose what is recorded."""
    path = bytes(scope["raw_path"]).decode("latin-1")
    if path in ROUTES:
        return path
    for part in ("/v1/control", "/v1/runtime", "/v1/fleet"):
        if path.startswith(part):
            return f"{part}/…"
    return "another path"


async def _say_no(refusal: Refusal, send: Send) -> None:
    body = json.dumps({"code": refusal.code, "detail": refusal.sentence}).encode()
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        # The rest of a body that was not read is not worth waiting for.
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": head})
    await send({"type": "http.response.body", "body": body})
