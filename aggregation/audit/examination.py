"""The grandparent's audit: did a tier let through what a flat federation would have trimmed?

In a tree, f₀ + 1 colluders of one subtree move its aggregate as far as they like, and f₁ + 1 such
subtrees move the tier above. The grandparent sees only offers. From sketches of everything that
went into them it recomputes what one flat federation would have seen, and says which offers count.
``aggregation.audit.commitment`` has the order of events that makes the answers mean something.

``aggregation.audit.flat`` has the geometry, ``aggregation.audit.verdict`` the conclusions.

What is checked, in this order: everything committed is answered and nothing else; no update is
counted twice; spots have the committed digest and the answered sketch; the parts add up to the
offer, which the grandparent sketches itself; a rehearsal term is within its cap; then the geometry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from aggregation.audit.commitment import AuditDraw, Commitment, RoundAnswer, encode, vector_digest
from aggregation.audit.flat import places
from aggregation.audit.sketch import Vector, rows_within, sketch
from aggregation.audit.verdict import (
    AuditPolicy,
    AuditVerdict,
    Outcome,
    counted,
    of_round,
    of_rounds,
)
from aggregation.errors import AggregationError

SIGNATURE = 64
"""Bytes of an Ed25519 signature: one comes with each committed update and one with each child."""


@dataclass(frozen=True, eq=False)
class Subtree:
    """One child as the grandparent sees it.

    Attributes:
        committed: what the child signed before the draw.
        f: how many bad leaves its tier was to tolerate in a round.
        offer: (d,) float32, the delta as it would be aggregated.
        answer: one for each committed round; None when none came.
        spots: whole updates (d,) float32 by (round, place), as they came.
    """

    committed: Commitment
    f: int
    offer: Vector
    answer: Sequence[RoundAnswer] | None
    spots: Mapping[tuple[int, int], Vector] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """The outcome of an audit.

    Attributes:
        verdicts: in the order of the subtrees.
        counted: the children whose offers go into the aggregate.
        f: how many bad offers the rule over those is to tolerate.
    """

    verdicts: tuple[AuditVerdict, ...]
    counted: tuple[str, ...]
    f: int


@dataclass(frozen=True)
class Plan:
    """The bytes of an audit: ``total``, where ``forwarding`` every update would cost more."""

    rows: int
    spots: int
    total: int
    forwarding: int


def plan(
    size: int, commitments: Sequence[Commitment], share: float = 0.05, for_spots: float = 0.4
) -> Plan:
    """Choose the most rows and spots that cost at most ``share`` of forwarding every update.

    Counted is all that travels: commitments, one signature for each update and each child, seed and
    secret, sketches, spots. ``for_spots`` of it goes to spots, rounded down, the rest to rows; what
    the longest sketches leave over goes to spots again.

    Raises:
        AggregationError: ``bad-rows`` when the share is too small for any sketch.
    """
    updates = sum(len(c.leaves) for c in commitments)
    sketches = sum(c.sketches for c in commitments)
    overhead = SIGNATURE * updates + sum(len(encode(c)) + SIGNATURE + 64 for c in commitments)
    spots = int(for_spots * share * updates)
    rows = rows_within(size, updates, sketches, spots, overhead, share)
    if not rows:
        raise AggregationError(
            "bad-rows",
            f"{share:.0%} of the bytes of {updates} updates ({size} values each) is too little for "
            "any sketch: allow a larger share.",
        )
    left = int(share * 4 * size * updates) - overhead - 4 * rows * sketches
    spots = min(updates, left // (4 * size))
    total = overhead + 4 * (rows * sketches + size * spots)
    return Plan(rows, spots, total, 4 * size * updates)


def audit(
    subtrees: Sequence[Subtree], draw: AuditDraw, rows: int, spots: int, policy: AuditPolicy, f: int
) -> Audit:
    """Judge every subtree and decide which offers count.

    Args:
        subtrees: all children of one grandparent that offered.
        draw: from which the answers' seed and the spots follow.
        rows, spots: as in the plan.
        f: how many bad offers the grandparent's own rule tolerates, f₁.

    Raises:
        AggregationError: ``counted-twice`` for two subtrees of one child, ``not-finite`` for an
            offer that admission should have refused. What a child answers raises nothing.
    """
    if len({s.committed.child for s in subtrees}) < len(subtrees):
        raise AggregationError("counted-twice", "Two audited subtrees belong to one child.")
    asked = draw.spots([s.committed for s in subtrees], spots)
    faults = [
        _fault(s, {(r, i) for child, r, i in asked if child == s.committed.child}, draw.seed, rows)
        or _sum_fault(s, draw.seed, rows, policy)
        for s in subtrees
    ]
    sound = [s for s, fault in zip(subtrees, faults, strict=True) if fault is None]
    judged = dict(zip([s.committed.child for s in sound], _judge(sound, policy), strict=True))
    verdicts = tuple(
        fault or judged[s.committed.child] for s, fault in zip(subtrees, faults, strict=True)
    )
    return Audit(verdicts, *counted(verdicts, f))


def recomputed(
    committed: Commitment, updates: Sequence[Sequence[Vector]], verdict: AuditVerdict
) -> Vector:
    """Recompute the sum of a captured subtree's rounds: η times the mean of each one's inliers.

    Args:
        updates: every update of every round, forwarded in the committed order.
        verdict: of the audit; its outliers are left out, and so is all rehearsal.

    Raises:
        AggregationError: ``not-what-was-committed`` for another update than the committed one,
            ``no-majority`` where a round has too few inliers to stand for the subtree.
    """
    named = [[leaf.digest for leaf in round_.updates] for round_ in committed.rounds]
    if [[vector_digest(v) for v in forwarded] for forwarded in updates] != named:
        raise AggregationError(
            "not-what-was-committed", f"{committed.child} forwarded other updates than it named."
        )
    total = np.zeros(updates[0][0].shape, np.float64)
    for number, (round_, round_updates) in enumerate(zip(committed.rounds, updates, strict=True)):
        inliers = [u for i, u in enumerate(round_updates) if (number, i) not in verdict.outlying]
        if 2 * len(inliers) <= len(round_updates):
            raise AggregationError(
                "no-majority", f"Round {number} of {committed.child} has too few inliers."
            )
        for update in inliers:
            total += round_.step / len(inliers) * update
    return total.astype(np.float32)


def _fault(
    subtree: Subtree, asked: set[tuple[int, int]], seed: bytes, rows: int
) -> AuditVerdict | None:
    """Find a fault in the form of an answer or in its spots; None when there is none."""
    committed, given = subtree.committed, subtree.answer
    if given is None:
        return _inconsistent(subtree, "no-answer", "It did not answer.")
    if not _answers(committed, given, rows):
        return _inconsistent(
            subtree, "not-what-was-committed", "It answered other parts than it committed to."
        )
    for number, round_ in enumerate(committed.rounds):
        if len({leaf.node for leaf in round_.updates}) < len(round_.updates):
            return _inconsistent(
                subtree, "counted-twice", f"A node is counted twice in round {number}.", number
            )
    seen = Counter(
        (leaf.node, leaf.digest) for round_ in committed.rounds for leaf in round_.updates
    )
    if any(times > 1 for times in seen.values()):
        return _inconsistent(subtree, "counted-twice", "An update is counted in two rounds.")
    if vector_digest(subtree.offer) != committed.offer:
        return _inconsistent(
            subtree, "not-what-was-committed", "Its offer is not the one it committed to."
        )
    for r, i in sorted(asked):
        shown = subtree.spots.get((r, i))
        of_leaf = f"update {i} of round {r}"
        if shown is None or shown.shape != subtree.offer.shape or shown.dtype != np.float32:
            return _inconsistent(subtree, "spot-missing", f"It did not show {of_leaf}.", r)
        if vector_digest(shown) != committed.rounds[r].updates[i].digest:
            return _inconsistent(
                subtree, "spot-digest", f"What it shows is not the committed {of_leaf}.", r
            )
        finite = np.isfinite(shown).all()
        if not finite or not np.array_equal(sketch([shown], seed, rows)[0], given[r].updates[i]):
            return _inconsistent(subtree, "spot-sketch", f"Its sketch does not match {of_leaf}.", r)
    return None


def _answers(committed: Commitment, given: Sequence[RoundAnswer], rows: int) -> bool:
    """Check that the answer covers the commitment, nothing else, with finite values."""
    if len(given) != len(committed.rounds) or not given:
        return False
    for round_, answered in zip(committed.rounds, given, strict=True):
        if not round_.updates or (answered.rehearsal is None) != (round_.rehearsal is None):
            return False
        wanted = [(answered.updates, (len(round_.updates), rows)), (answered.displacement, (rows,))]
        if answered.rehearsal is not None:
            wanted.append((answered.rehearsal, (rows,)))
        if any(
            a.shape != s or a.dtype != np.float32 or not np.isfinite(a).all() for a, s in wanted
        ):
            return False
    return True


def _sum_fault(
    subtree: Subtree, seed: bytes, rows: int, policy: AuditPolicy
) -> AuditVerdict | None:
    """Find a step that is not allowed, or parts that do not add up to the offer; else None."""
    for number, round_ in enumerate(subtree.committed.rounds):
        if not 0 <= round_.step <= policy.step:
            return _inconsistent(
                subtree,
                "step-too-large",
                f"Its step in round {number} is {round_.step}, at most {policy.step} is allowed.",
                number,
            )
    parts = [
        p for answered in subtree.answer or () for p in (answered.displacement, answered.rehearsal)
    ]
    added = [p.astype(np.float64) for p in parts if p is not None]
    lengths = sum(float(np.linalg.norm(p)) for p in added)
    offered = sketch([subtree.offer], seed, rows)[0]
    missed = float(np.linalg.norm(offered - np.sum(added, axis=0)))
    if missed > policy.rounding * lengths:
        return _inconsistent(
            subtree,
            "sum-differs",
            f"Its parts miss its offer by {missed:.3g}, of {lengths:.3g} together.",
        )
    return None


def _judge(subtrees: Sequence[Subtree], policy: AuditPolicy) -> list[AuditVerdict]:
    """Judge subtrees whose answers are consistent, by the flat geometry of every round.

    A subtree that has fewer rounds than another is compared in the later ones with its last: how
    many rounds a child names changes nothing about whom it is compared with.
    """
    answers = [tuple(s.answer or ()) for s in subtrees]
    points = [[answered.updates.astype(np.float64) for answered in given] for given in answers]
    by_subtree: list[list[AuditVerdict]] = [[] for _ in subtrees]
    for number in range(max((len(p) for p in points), default=0)):
        present = [p[min(number, len(p) - 1)] for p in points]
        placed = places(present, policy.f)
        usual = float(np.median(np.linalg.norm(np.concatenate(present), axis=1)))
        for s, given, place, verdicts in zip(subtrees, answers, placed, by_subtree, strict=True):
            if number < len(given):
                verdicts.append(
                    of_round(s.committed, number, given[number], s.f, place, usual, policy)
                )
    return [of_rounds(verdicts) for verdicts in by_subtree]


def _inconsistent(
    subtree: Subtree, code: str, sentence: str, number: int | None = None
) -> AuditVerdict:
    return AuditVerdict(
        subtree.committed.child,
        Outcome.INCONSISTENT,
        code,
        sentence,
        allowed=subtree.f,
        round=number,
    )
