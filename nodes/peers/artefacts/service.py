"""Answer a circle's members: who has what, and the bytes of what they may have."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nodes.machine.clock import Clock
from nodes.peers.artefacts.holders import Holders
from nodes.peers.artefacts.shelf import Shelf
from nodes.peers.artefacts.transfer import OnBytes
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.errors import PeerError
from nodes.state.artefacts import ArtefactError
from protocol import Digest, NodeId, peer_pb2

CHUNK = 256 * 1024
MOST_DIGESTS = 256
"""Digests in one question."""


@dataclass(frozen=True)
class GiveLimits:
    """How much is given at a time.

    Attributes:
        each, in_all: fetches that run, of one member and of all.
        bytes: what one call may ask for.
        large: bytes from which on an artefact is given in turns: to ``turns`` members at a time,
            so that the first of them can give it on soon, instead of all getting it at the end. Who
            took nothing for ``turn_s`` has had its turn.
        idle_s: a fetch of which nobody took a chunk for so long makes room for others.
        retry_ms: who is refused comes back after so long.
    """

    each: int = 6
    in_all: int = 32
    bytes: int = 16 * 1024 * 1024
    large: int = 8 * 1024 * 1024
    turns: int = 4
    turn_s: float = 2.0
    idle_s: float = 30.0
    retry_ms: int = 1000


class Serving:
    """The fetches that run. Thread-safe."""

    def __init__(self, limits: GiveLimits, clock: Clock) -> None:
        self.limits, self._clock = limits, clock
        self._lock = threading.Lock()
        self._running: dict[object, tuple[NodeId, float]] = {}
        self._turns: dict[NodeId, float] = {}

    def take_turn(self, member: NodeId, length: int) -> None:
        """Let a member have its turn with an artefact of a length; it goes on until it is done.

        Raises ``PeerError`` ``overloaded`` where it is the turn of others.
        """
        limits, now = self.limits, self._clock.monotonic()
        if length < limits.large:
            return
        with self._lock:
            self._turns = {m: at for m, at in self._turns.items() if now - at <= limits.turn_s}
            if member not in self._turns and len(self._turns) >= limits.turns:
                raise PeerError(
                    "overloaded",
                    f"{limits.turns} others are given large artefacts at present.",
                    limits.retry_ms,
                )
            self._turns[member] = now

    def end_turn(self, member: NodeId) -> None:
        """Let the next member have its turn."""
        with self._lock:
            self._turns.pop(member, None)

    @contextmanager
    def fetch(self, member: NodeId) -> Iterator[Callable[[], None]]:
        """Count a fetch while it runs; yield what to call at every chunk.

        Raises ``PeerError``: ``overloaded``, and at a chunk ``too-slow`` when the fetch had to make
        room for others.
        """
        limits, key = self.limits, object()
        now = self._clock.monotonic()
        with self._lock:
            idle = [k for k, (_, at) in self._running.items() if now - at > limits.idle_s]
            for each in idle:
                del self._running[each]
            of_member = sum(node == member for node, _ in self._running.values())
            if of_member >= limits.each or len(self._running) >= limits.in_all:
                raise PeerError(
                    "overloaded",
                    f"At most {limits.each} fetches of one node and {limits.in_all} of all at a "
                    "time.",
                    limits.retry_ms,
                )
            self._running[key] = member, now

        def alive() -> None:
            with self._lock:
                if key not in self._running:
                    raise PeerError("too-slow", "The fetch took its bytes too slowly.", 1000)
                now = self._clock.monotonic()
                self._running[key] = member, now
                if member in self._turns:
                    self._turns[member] = now

        try:
            yield alive
        finally:
            with self._lock:
                self._running.pop(key, None)


class ArtefactService:
    """The calls ``Locate``, ``Announce`` and ``Fetch`` of one circle.

    Args:
        holders: what members announced, at the parent of the circle; None at a child, which speaks
            for itself only.
        on_bytes: told of what each member was given; see ``traffic.ByteCounts``.
        serving: bounds the fetches; circles of one node may share it.
        torrent_of: the digest of an artefact's description for a swarm, empty without one.
    """

    def __init__(
        self,
        shelf: Shelf,
        holders: Holders | None,
        on_bytes: OnBytes,
        serving: Serving,
        torrent_of: Callable[[Digest], Digest] = lambda _: Digest(""),
    ) -> None:
        self._shelf, self._holders, self._on_bytes = shelf, holders, on_bytes
        self._serving, self._torrent_of = serving, torrent_of

    def locate(self, caller: Caller, request: peer_pb2.LocateRequest) -> peer_pb2.LocateReply:
        """Say of each digest whether it is here, and who else said that he has it.

        Raises ``PeerError`` ``malformed``.
        """
        located = (self._locate(digest, caller) for digest in _digests(request.digests))
        return peer_pb2.LocateReply(located=located)

    def announce(self, caller: Caller, request: peer_pb2.AnnounceRequest) -> peer_pb2.AnnounceReply:
        """Remember what the caller has. Raises ``PeerError`` ``malformed``."""
        digests = _digests(request.digests)
        self._serving.end_turn(caller.member)
        if self._holders is not None:
            self._holders.announce(caller.member, digests)
        return peer_pb2.AnnounceReply()

    def fetch(self, caller: Caller, request: peer_pb2.FetchRequest) -> Iterator[peer_pb2.Chunk]:
        """Give a part of an artefact in chunks; the first names its whole length.

        Raises ``PeerError``: ``malformed``, ``not-here``, ``overloaded``.
        """
        [digest] = _digests([request.digest])
        offset, end = request.offset, request.offset + request.length
        if request.length > self._serving.limits.bytes:
            raise PeerError(
                "malformed", f"A part has at most {self._serving.limits.bytes:,} bytes."
            )
        with self._serving.fetch(caller.member) as alive:
            shelved = self._shelf.find(digest)
            if shelved is None:
                raise _not_here(digest)
            if end > shelved.length:
                raise PeerError("malformed", f"The artefact has {shelved.length:,} bytes.")
            total = shelved.length
            self._serving.take_turn(caller.member, shelved.length)
            while True:
                try:
                    data = shelved.read(offset, min(CHUNK, end - offset)) if offset < end else b""
                except ArtefactError:
                    raise _not_here(digest) from None
                if offset < end and not data:
                    raise _not_here(digest)
                alive()
                self._on_bytes(caller.member, len(data))
                yield peer_pb2.Chunk(data=data, total=total)
                offset, total = offset + len(data), 0
                if offset >= end:
                    return

    def _locate(self, digest: Digest, caller: Caller) -> peer_pb2.Located:
        shelved = self._shelf.find(digest)
        holders = self._holders.of(digest, caller.member) if self._holders else ()
        return peer_pb2.Located(
            digest=bytes.fromhex(digest),
            here=shelved is not None,
            length=shelved.length if shelved else 0,
            holders=map(bytes.fromhex, holders),
            torrent=bytes.fromhex(self._torrent_of(digest)) if shelved else b"",
        )


def _digests(raw: Sequence[bytes]) -> list[Digest]:
    if not 0 < len(raw) <= MOST_DIGESTS or any(len(each) != 32 for each in raw):
        raise PeerError(
            "malformed", f"A question names 1 to {MOST_DIGESTS} digests of 32 bytes each."
        )
    return [Digest(each.hex()) for each in raw]


def _not_here(digest: Digest) -> PeerError:
    return PeerError("not-here", f"Artefact {digest[:12]}… is not given here.")
