"""The grandparent's verdict on a subtree: outcomes, stable codes, and which offers count.

Each subtree is **clean**, **captured** (its tier counted more outliers than its rule carries, and
they moved it) or **inconsistent** (what it answered contradicts itself or its commitment: the
interior node is at fault). "Clean" is no praise: an offer may still be as wrong as the rule of its
tier allows.

Honest difference between subtrees is no outlier. A subtree that is far from everyone *as a whole*
is clean with the code ``apart``: another domain, or nearly all of it in one hand, which nobody
above can tell from each other. The rule above tolerates f₁ of those; if there are more, none
counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from aggregation.audit.commitment import Commitment, RoundAnswer
from aggregation.audit.flat import Place


class Outcome(StrEnum):
    """The conclusion about a subtree."""

    CLEAN = "clean"
    CAPTURED = "captured"
    INCONSISTENT = "inconsistent"


@dataclass(frozen=True)
class AuditPolicy:
    """The grandparent's limits. Lengths are relative, so that they fit any model.

    A radius is how far a usual leaf lies from the middle of its own subtree.

    Attributes:
        f: how many of all leaves may be bad, as in one flat federation.
        slack: how many times farther than the scale an honest leaf may lie, from everyone's centre
            and from most of its own subtree.
        harm: how far, in η radii, a displacement may lie from η times the mean of its inliers when
            there are more outliers than its tier carries.
        reach: how far it may lie from it at all; a trimmed mean within its tolerance stays below
            1.2, at 30 % below 0.7.
        rehearsal: a rehearsal term's longest norm, in η times the median norm of all leaves.
        step: the largest η.
        rounding: by which share of the lengths of its parts an offer may miss their sum: float32
            needs 1e-5, an offer sent as int8 about 1e-2.
    """

    f: int
    slack: float = 1.5
    harm: float = 0.5
    reach: float = 1.5
    rehearsal: float = 0.25
    step: float = 1.0
    rounding: float = 1e-4


@dataclass(frozen=True)
class AuditVerdict:
    """The verdict on one subtree.

    Attributes:
        code: stable. Clean: ``clean``, ``apart``, ``unmoved`` (more outliers than the tier carries,
            without effect). Captured: ``captured``, ``no-majority`` (half of the leaves or fewer
            are inliers). Inconsistent: ``no-answer``, ``not-what-was-committed``,
            ``counted-twice``, ``step-too-large``, ``spot-missing``, ``spot-digest``,
            ``spot-sketch``, ``sum-differs``, ``rehearsal-too-large``, ``unsupported``.
        outliers: in the worst round, leaves that are far from everyone or astray in their subtree.
        allowed: f of the tier.
        shift: how far that round's displacement lies from what its inliers support, in radii; NaN
            when it was not measured.
        round: the round that decided, None when no single one did.
        outlying: every outlier of every round, as (round, place).
    """

    child: str
    outcome: Outcome
    code: str
    sentence: str
    outliers: int = 0
    allowed: int = 0
    shift: float = float("nan")
    round: int | None = None
    outlying: tuple[tuple[int, int], ...] = ()


def counted(verdicts: Sequence[AuditVerdict], f: int) -> tuple[tuple[str, ...], int]:
    """Choose the offers that count, and how many bad ones among them the rule above must tolerate.

    Captured and inconsistent ones do not count. Those that are apart do as long as the rule
    tolerates them all; where they are more, they are left out.

    Args:
        f: how many bad offers the rule tolerates when all count, f₁.
    """
    clean = [v for v in verdicts if v.outcome is Outcome.CLEAN]
    apart = sum(v.code == "apart" for v in clean)
    if apart > min(f, (len(clean) - 1) // 2):
        clean = [v for v in clean if v.code != "apart"]
    return tuple(v.child for v in clean), max(0, min(f, (len(clean) - 1) // 2))


def of_round(
    committed: Commitment,
    number: int,
    answered: RoundAnswer,
    f: int,
    place: Place,
    usual: float,
    policy: AuditPolicy,
) -> AuditVerdict:
    """Judge one round of one subtree.

    Args:
        f: of the tier.
        place: of this round's leaves in the flat geometry.
        usual: the median norm of all leaves.
    """
    step, m = committed.rounds[number].step, len(place.far)
    far, astray = place.far > policy.slack, place.astray > policy.slack
    apart = bool(far.sum() >= m - f and astray.sum() <= f)
    outlying = astray if apart else far | astray
    outliers = int(outlying.sum())
    inliers = answered.updates[~outlying] if outliers < m else answered.updates
    support = step * inliers.astype(np.float64).mean(0)
    missed = float(np.linalg.norm(answered.displacement - support))
    unit = step * place.radius + policy.rounding * step * usual
    shift = missed / unit if unit > 0 else (0.0 if missed == 0 else float("inf"))

    def verdict(outcome: Outcome, code: str, sentence: str) -> AuditVerdict:
        places = tuple((number, int(i)) for i in np.flatnonzero(outlying))
        return AuditVerdict(
            committed.child, outcome, code, sentence, outliers, f, shift, number, places
        )

    if answered.rehearsal is not None:
        length, cap = float(np.linalg.norm(answered.rehearsal)), policy.rehearsal * step * usual
        if length > cap * (1 + 4 / np.sqrt(2 * len(answered.rehearsal))):  # its error is 1/√(2k)
            return verdict(
                Outcome.INCONSISTENT,
                "rehearsal-too-large",
                f"Its rehearsal in round {number} is {length:.3g} long, {cap:.3g} is allowed.",
            )
    counts = f"Round {number} counted {outliers} outliers of {m}, its rule carries {f}"
    if outliers > f and 2 * outliers >= m:
        return verdict(
            Outcome.CAPTURED, "no-majority", f"{counts}: too few are left to support anything."
        )
    if outliers > f and shift > policy.harm:
        return verdict(
            Outcome.CAPTURED, "captured", f"{counts}, and they moved it by {shift:.1f} radii."
        )
    if shift > policy.reach:
        return verdict(
            Outcome.INCONSISTENT,
            "unsupported",
            f"Its step in round {number} is {shift:.1f} radii from what its leaves support.",
        )
    if outliers > f:
        return verdict(Outcome.CLEAN, "unmoved", f"{counts}, but they did not move it.")
    if apart:
        return verdict(
            Outcome.CLEAN, "apart", f"In round {number} all of it lies apart from its siblings."
        )
    return verdict(Outcome.CLEAN, "clean", "Its offer follows from its leaves.")


def of_rounds(verdicts: Sequence[AuditVerdict]) -> AuditVerdict:
    """Return the gravest verdict of several rounds; of equal ones, that with the most outliers."""
    grave = {Outcome.CLEAN: 0, Outcome.CAPTURED: 1, Outcome.INCONSISTENT: 2}
    worst = max(
        verdicts,
        key=lambda v: (grave[v.outcome], v.code == "apart", v.code != "clean", v.outliers, v.shift),
    )
    outlying = tuple(sorted({place for v in verdicts for place in v.outlying}))
    return AuditVerdict(
        worst.child,
        worst.outcome,
        worst.code,
        worst.sentence,
        worst.outliers,
        worst.allowed,
        worst.shift,
        worst.round,
        outlying,
    )
