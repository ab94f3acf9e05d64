"""Another node as a source of artefacts, and what it did wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from nodes.machine.randomness import Randomness
from nodes.state.records import ZERO
from protocol import Digest, NodeId

WRONG_BYTES, WRONG_LENGTH, TOO_MUCH = "wrong-bytes", "wrong-length", "sent-too-much"


@dataclass(frozen=True)
class Location:
    """What a node says of an artefact.

    Attributes:
        here: whether it has it. ``length``: in bytes; 0 when it is not known.
        holders: other members of the circle that said they have it.
        torrent: the digest of its description for a swarm; empty without one.
    """

    digest: Digest
    here: bool
    length: int
    holders: tuple[NodeId, ...] = ()
    torrent: Digest = ZERO


class Source(Protocol):
    """A node that may have artefacts. Every method may be called from several threads, and raises
    ``PeerError`` where the node refuses, does not answer, or stalls."""

    @property
    def name(self) -> NodeId:
        """The node."""
        ...

    @property
    def is_origin(self) -> bool:
        """Whether it is the circle's parent: everybody would turn to it, so others go first."""
        ...

    def locate(self, digests: Sequence[Digest]) -> Sequence[Location]:
        """Ask what it has, and who else has; the answers are in the order of the question."""
        ...

    def read(self, digest: Digest, offset: int, length: int) -> Iterator[bytes]:
        """Fetch a part of an artefact; what has a ``close`` is closed when enough has come."""
        ...

    def announce(self, digests: Sequence[Digest]) -> None:
        """Tell it that this node has these artefacts now."""
        ...


@dataclass(frozen=True)
class Fault:
    """Something that a node gave and that cannot be right."""

    peer: NodeId
    code: str
    artefact: Digest
    sentence: str

    @classmethod
    def wrong_bytes(cls, peer: NodeId, artefact: Digest) -> Fault:
        """It gave other bytes than the digest names."""
        return cls(
            peer, WRONG_BYTES, artefact, f"Node {peer[:12]}… gave wrong bytes of {artefact[:12]}…."
        )

    @classmethod
    def wrong_length(cls, peer: NodeId, artefact: Digest) -> Fault:
        """It named another length than the artefact has."""
        return cls(
            peer,
            WRONG_LENGTH,
            artefact,
            f"Node {peer[:12]}… named a wrong length of {artefact[:12]}….",
        )

    @classmethod
    def too_much(cls, peer: NodeId, artefact: Digest) -> Fault:
        """It sent more than it was asked for."""
        return cls(
            peer,
            TOO_MUCH,
            artefact,
            f"Node {peer[:12]}… sent more of {artefact[:12]}… than it was asked for.",
        )


T = TypeVar("T")

OnFault = Callable[[Fault], None]
OnProgress = Callable[[int, int], None]
"""Told of the bytes that are here, and of all."""


def fraction(randomness: Randomness) -> float:
    """Draw from [0, 1)."""
    return float(randomness.bits(53)) / (1 << 53)


def shuffled(randomness: Randomness, things: Sequence[T]) -> list[T]:
    """Return the things in a random order."""
    return [
        thing for _, _, thing in sorted((randomness.bits(53), i, x) for i, x in enumerate(things))
    ]
