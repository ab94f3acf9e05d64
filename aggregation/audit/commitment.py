"""Commit to the parts of an offer before an audit, and answer the audit with their sketches.

An interior node's offer is a sum: over its rounds since the baseline, the displacement that its
rule made of its children's updates (step size η included), and beside it a rehearsal term that
nobody below asked for. The commitment names every part by its digest, so that after the seed is
known nothing can be added, dropped or exchanged. The order of events is the whole security:

1. The child commits (``commitment``), signed in its update.
2. The grandparent draws a secret (``Draw``) and publishes the seed of the projection.
3. The child answers with sketches of every part (``answer``), or forwards the updates.
4. The grandparent publishes the secret; from it follow the spots: whole updates to be shown.

Steps 2 and 4 are two, because a child that knew the spots when it answered would lie elsewhere. The
secret of step 4 was fixed in step 2 without being told.

Digests are 32 bytes. The caller checks signatures, and whether a named node is enrolled.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb

import numpy as np
from numpy.typing import NDArray

from aggregation.audit.sketch import Vector, sketch
from aggregation.errors import AggregationError

_DIGEST = 32
_TAG = b"banyan audit commitment v1\0"


@dataclass(frozen=True)
class Leaf:
    """An update that went into a round: who made it, and the digest of its vector."""

    node: str
    digest: bytes


@dataclass(frozen=True)
class Round:
    """One round of a tier.

    Attributes:
        updates: in an order that the child chooses and keeps.
        displacement: digest of η·C, what the round added to the tier's adapter.
        step: η.
        rehearsal: digest of the rehearsal term; None when there was none.
    """

    updates: tuple[Leaf, ...]
    displacement: bytes
    step: float = 1.0
    rehearsal: bytes | None = None


@dataclass(frozen=True)
class Commitment:
    """The parts of an offer, each named by its digest.

    Attributes:
        child: the interior node.
        offer: digest of the offered delta.
        baseline: digest of the state that the delta starts from.
        rounds: since the baseline, oldest first.
    """

    child: str
    offer: bytes
    baseline: bytes
    rounds: tuple[Round, ...]

    @property
    def leaves(self) -> tuple[tuple[int, int], ...]:
        """Every update as (round, place in the round)."""
        return tuple(
            (r, i) for r, round_ in enumerate(self.rounds) for i in range(len(round_.updates))
        )

    @property
    def sketches(self) -> int:
        """The number of sketches that answer this commitment."""
        return sum(len(r.updates) + 1 + (r.rehearsal is not None) for r in self.rounds)


def encode(committed: Commitment) -> bytes:
    """Encode a commitment, with lengths before contents so that no two encodings are alike.

    Raises:
        AggregationError: ``bad-commitment`` for a digest of another length or a step not finite.
    """
    parts = [_TAG, _text(committed.child), _digest(committed.offer), _digest(committed.baseline)]
    parts.append(struct.pack("<I", len(committed.rounds)))
    for round_ in committed.rounds:
        if not np.isfinite(round_.step):
            raise AggregationError(
                "bad-commitment", f"A step size must be finite, got {round_.step}."
            )
        parts += [
            struct.pack("<dI", round_.step, len(round_.updates)),
            _digest(round_.displacement),
        ]
        parts.append(b"\0" if round_.rehearsal is None else b"\1" + _digest(round_.rehearsal))
        for leaf in round_.updates:
            parts += [_text(leaf.node), _digest(leaf.digest)]
    return b"".join(parts)


def commitment(committed: Commitment) -> bytes:
    """Return the SHA-256 of the encoded commitment, which the child signs."""
    return hashlib.sha256(encode(committed)).digest()


def vector_digest(vector: Vector) -> bytes:
    """Return the SHA-256 of a vector's float32 values, little-endian: its name in commitments."""
    return hashlib.sha256(np.ascontiguousarray(vector).astype("<f4", copy=False).data).digest()


@dataclass(frozen=True)
class AuditDraw:
    """The grandparent's 32 random bytes for one audit. All of its children get the same seed.

    Args:
        secret: from the operating system's generator, after every commitment arrived.

    Attributes:
        seed: of the projection; published first. Tells nothing about the secret.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.secret) != _DIGEST:
            raise AggregationError("bad-seed", f"A draw needs 32 bytes, got {len(self.secret)}.")

    @property
    def seed(self) -> bytes:
        """The seed of the child's sketches."""
        return hashlib.sha256(b"banyan audit projection\0" + self.secret).digest()

    def spots(self, commitments: Sequence[Commitment], count: int) -> list[tuple[str, int, int]]:
        """Draw ``count`` of all updates to be shown whole, as (child, round, place), none twice.

        The draw depends on the secret and the commitments, not on the order of the children.
        """
        ordered = sorted(commitments, key=lambda c: c.child)
        bound = hashlib.sha256(b"banyan audit spots\0" + self.secret)
        for committed in ordered:
            bound.update(commitment(committed))
        places = [(c.child, r, i) for c in ordered for r, i in c.leaves]
        by_ticket = sorted(
            places,
            key=lambda p: hashlib.sha256(bound.digest() + repr(p).encode()).digest(),
        )
        return sorted(by_ticket[:count])


def detection(committed: int, false: int, spots: int) -> float:
    """Return the probability that ``spots`` of ``committed`` updates hit one of ``false`` fakes."""
    return 1.0 - comb(committed - false, spots) / comb(committed, spots)


@dataclass(frozen=True, eq=False)
class Parts:
    """The vectors of one round, all (d,) float32: what the child kept, or forwards."""

    updates: Sequence[Vector]
    displacement: Vector
    rehearsal: Vector | None = None


@dataclass(frozen=True, eq=False)
class RoundAnswer:
    """The sketches of one round: ``updates`` (m, k), the others (k,), all float32."""

    updates: NDArray[np.float32]
    displacement: NDArray[np.float32]
    rehearsal: NDArray[np.float32] | None = None


def answer(rounds: Sequence[Parts], seed: bytes, rows: int) -> tuple[RoundAnswer, ...]:
    """Sketch every part of the rounds. The grandparent does the same to forwarded updates."""
    answered = []
    for parts in rounds:
        rest = [parts.displacement] + ([] if parts.rehearsal is None else [parts.rehearsal])
        sketches = sketch([*parts.updates, *rest], seed, rows)
        n = len(parts.updates)
        answered.append(
            RoundAnswer(
                sketches[:n], sketches[n], sketches[n + 1] if parts.rehearsal is not None else None
            )
        )
    return tuple(answered)


def commit(
    child: str,
    baseline: bytes,
    rounds: Sequence[tuple[Sequence[str], Parts, float]],
    offer: Vector,
) -> Commitment:
    """Commit to vectors that are at hand; ``rounds`` gives nodes, parts and step size of each."""
    return Commitment(
        child,
        vector_digest(offer),
        baseline,
        tuple(
            Round(
                tuple(
                    Leaf(node, vector_digest(update))
                    for node, update in zip(nodes, parts.updates, strict=True)
                ),
                vector_digest(parts.displacement),
                step,
                None if parts.rehearsal is None else vector_digest(parts.rehearsal),
            )
            for nodes, parts, step in rounds
        ),
    )


def _text(text: str) -> bytes:
    coded = text.encode()
    return struct.pack("<I", len(coded)) + coded


def _digest(digest: bytes) -> bytes:
    if len(digest) != _DIGEST:
        raise AggregationError("bad-commitment", f"A digest must have 32 bytes, got {len(digest)}.")
    return digest
