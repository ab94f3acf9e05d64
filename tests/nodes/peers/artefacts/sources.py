"""Sources in memory that behave, or do not."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from nodes.machine.clock import Clock, SystemClock
from nodes.machine.randomness import SeededRandomness
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.artefacts.partial import PART
from nodes.peers.artefacts.pool import Pace
from nodes.peers.artefacts.source import Fault, Location
from nodes.peers.artefacts.standing import Standing
from nodes.peers.wire.errors import PeerError
from protocol import Digest, NodeId, digest_of

CHUNK = 100_000
"""Parts do not begin where chunks do."""
QUICK = Pace(rest=0.01, longest_rest=0.05, stall=0.5, slow=0.3, double=0.02, locate=0.1, look=0.01)

CALM = Pace(look=0.01)
"""Nobody is left for being slow: on a busy machine, too, each gives what it was asked for."""


def name_of(word: str) -> NodeId:
    return NodeId(digest_of(word.encode()))


@dataclass
class MemorySource:
    """A node that has some artefacts."""

    word: str
    has: dict[Digest, bytes] = field(default_factory=dict)
    is_origin: bool = False
    holders: dict[Digest, list[NodeId]] = field(default_factory=dict)
    reads: list[tuple[int, int]] = field(default_factory=list)
    announced: list[Digest] = field(default_factory=list)
    claims: int | None = None
    """The length that it names, where it lies about it."""

    @property
    def name(self) -> NodeId:
        return name_of(self.word)

    def locate(self, digests: Sequence[Digest]) -> Sequence[Location]:
        return [self._location(digest) for digest in digests]

    def _location(self, digest: Digest) -> Location:
        length = len(self.has.get(digest, b"")) if self.claims is None else self.claims
        holders = tuple(self.holders.get(digest, ()))
        return Location(digest, digest in self.has, length, holders)

    def read(self, digest: Digest, offset: int, length: int) -> Iterator[bytes]:
        self.reads.append((offset, length))
        if digest not in self.has:
            raise PeerError("not-here", "It is not here.")
        yield from self.chunks(self.bytes_of(digest, offset, length))

    def bytes_of(self, digest: Digest, offset: int, length: int) -> bytes:
        return self.has[digest][offset : offset + length]

    def chunks(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), CHUNK):
            yield data[start : start + CHUNK]

    def announce(self, digests: Sequence[Digest]) -> None:
        self.announced += digests


class Garbage(MemorySource):
    """Gives wrong bytes of the right length: the first byte of each part is another."""

    def bytes_of(self, digest: Digest, offset: int, length: int) -> bytes:
        data = bytearray(super().bytes_of(digest, offset, length))
        for start in range(0, length, PART):
            data[start] ^= 1
        return bytes(data)


class Early(MemorySource):
    """Ends half-way."""

    def chunks(self, data: bytes) -> Iterator[bytes]:
        yield from super().chunks(data[: len(data) // 2])


class More(MemorySource):
    """Sends more than it was asked for, without end."""

    def chunks(self, data: bytes) -> Iterator[bytes]:
        while True:
            yield from super().chunks(data)


class Stuck(MemorySource):
    """Sends something, then waits for the end of the test."""

    released: ClassVar = threading.Event()

    def chunks(self, data: bytes) -> Iterator[bytes]:
        yield data[:1]
        self.released.wait()


class Busy(MemorySource):
    """Is overloaded the first few times."""

    refusals: int = 3

    def bytes_of(self, digest: Digest, offset: int, length: int) -> bytes:
        if self.refusals > 0:
            self.refusals -= 1
            raise PeerError("overloaded", "Come back.", 10)
        return super().bytes_of(digest, offset, length)


class Down(MemorySource):
    """Says that it has everything, and then does not answer."""

    def read(self, digest: Digest, offset: int, length: int) -> Iterator[bytes]:
        self.reads.append((offset, length))
        raise PeerError("link-down", "Nobody answers.")


@dataclass
class Fetching:
    """A fetcher, and what it said."""

    folder: Path
    sources: list[MemorySource]
    clock: Clock = field(default_factory=SystemClock)
    faults: list[Fault] = field(default_factory=list)
    taken: dict[NodeId, int] = field(default_factory=dict)
    pace: Pace = QUICK
    threads: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        self.standing = Standing(self.folder / "standing.json", self.clock)

    @property
    def fetcher(self) -> Fetcher:
        return Fetcher(
            lambda: self.sources,
            self.folder / "staging",
            self.standing,
            self.clock,
            self._fault,
            on_bytes=self._took,
            randomness=SeededRandomness(self.seed),
            threads=self.threads,
            pace=self.pace,
        )

    @property
    def named(self) -> set[tuple[NodeId, str]]:
        return {(fault.peer, fault.code) for fault in self.faults}

    def _fault(self, fault: Fault) -> None:
        self.faults.append(fault)
        self.standing.fault(fault.peer, fault.code)

    def _took(self, node: NodeId, count: int) -> None:
        self.taken[node] = self.taken.get(node, 0) + count
