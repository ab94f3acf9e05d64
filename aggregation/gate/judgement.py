"""Judge a candidate by its losses beside those of the current release.

A candidate passes when it is shown to be better as a whole, at the level that the node's budget
leaves, and when nothing it must keep became worse: no source beyond its tolerance from the best
the node ever held, and the general, refusal and trigger probes within theirs.

Sources count alike in the whole, however many probes each has: how much text a source happens to
own says nothing about how much it matters, and nobody gains a say by bringing more of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.errors import AggregationError
from aggregation.gate.budget import Budget
from aggregation.gate.evidence import log10_e
from aggregation.gate.policy import GatePolicy, ProbeKind

Losses = Mapping[str, NDArray[np.float64]]
"""The (k,) losses of each source's probes, nats per token; higher is worse."""

TOO_LARGE = 1e6
"""Nats per token. No loss of a working model is near it; what is not below counts as not finite."""


@dataclass(frozen=True)
class SourceFigures:
    """The figures of one source: mean losses in nats per token over ``count`` probes.

    None stands for a mean that is not finite.

    Attributes:
        best: of the best state ever held, on the same probes.
        log10_harm: the e-value against "it rose from the best by at most its tolerance".
    """

    source: str
    kind: ProbeKind
    before: float | None
    after: float | None
    best: float | None
    count: int
    tolerance: float
    log10_harm: float | None


@dataclass(frozen=True)
class Reason:
    """The reason for refusing a candidate.

    Attributes:
        code: stable. ``no-gain-shown``; for a source ``source-harmed`` (evidence that it rose by
            more than its tolerance), ``over-tolerance`` (it did on these probes), ``not-finite``.
        source: None when it is about the whole.
        sentence: for a person at this node. It holds figures: children get the code only.
    """

    code: str
    source: str | None
    sentence: str


@dataclass(frozen=True)
class GateVerdict:
    """The verdict on one candidate.

    Attributes:
        reasons: empty when accepted.
        before, after: the mean of the ordinary sources' means, nats per token; None if not finite.
        log10_e: of the evidence that the candidate is better; None if it could not be measured.
        level: what the evidence had to reach is 1/level.
        sources: in the order of their names.
        reused: sources of which retired probes were used.
        budget: after this test.
    """

    accepted: bool
    reasons: tuple[Reason, ...]
    before: float | None
    after: float | None
    log10_e: float | None
    level: float
    sources: tuple[SourceFigures, ...]
    reused: tuple[str, ...]
    budget: Budget

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values; every number is finite."""
        return asdict(self)


def judge(
    current: Losses,
    candidate: Losses,
    policy: GatePolicy,
    budget: Budget,
    best: Losses | None = None,
    reused: Sequence[str] = (),
) -> GateVerdict:
    """Judge a candidate against the current model on the same probes.

    The candidate must have been made without these probes. What ``best`` lacks was never better
    than now. It holds the losses of a state, not the smallest loss of each probe.

    Args:
        current, candidate, best: on the same probes in the same order.
        budget: before this test; the verdict has the one after it, whatever the outcome.
        reused: of the draw, for the record.

    Raises:
        AggregationError: ``no-probes`` when a source has none or no source is ordinary,
            ``bad-probes`` when the losses do not belong together. A loss that is not finite, or not
            below ``TOO_LARGE``, is no error: the candidate is refused.
    """
    best = {**current, **(best or {})}
    _check(current, candidate, best, policy)
    names = sorted(current)
    sources = tuple(_figures(s, current[s], candidate[s], best[s], policy) for s in names)
    ordinary = [s for s in names if policy.kind(s) is ProbeKind.ORDINARY]
    level = budget.level(policy.alpha)
    reasons = [reason for figures in sources for reason in _objections(figures, policy)]
    usable = all(_usable(losses[s]) for s in ordinary for losses in (current, candidate))
    shown = _evidence(current, candidate, ordinary, policy) if usable else None
    before = _mean([f.before for f in sources if f.kind is ProbeKind.ORDINARY])
    after = _mean([f.after for f in sources if f.kind is ProbeKind.ORDINARY])
    if shown is not None and before is not None and after is not None:
        needed = -math.log10(level)
        if shown < needed:
            sentence = (
                f"The ordinary sources gain {before - after:.3f} nats on average; the evidence for "
                f"a gain is 10^{shown:.1f}, at this node's test {budget.tests + 1} it takes "
                f"10^{needed:.1f}."
            )
            reasons.append(Reason("no-gain-shown", None, sentence))
    accepted = not reasons
    return GateVerdict(
        accepted, tuple(reasons), before, after, shown, level, sources, tuple(reused),
        budget.after(accepted),
    )  # fmt: skip


def _check(current: Losses, candidate: Losses, best: Losses, policy: GatePolicy) -> None:
    if not current or any(losses.size == 0 for losses in current.values()):
        raise AggregationError("no-probes", "The gate needs at least one probe of every source.")
    if all(policy.kind(s) is not ProbeKind.ORDINARY for s in current):
        raise AggregationError("no-probes", "The gate needs at least one ordinary source.")
    for losses in (candidate, best):
        if losses.keys() != current.keys() or any(
            losses[s].ndim != 1 or losses[s].shape != current[s].shape for s in current
        ):
            raise AggregationError(
                "bad-probes", "The models were not measured on the same probes of the same sources."
            )


def _figures(
    source: str,
    current: NDArray[np.float64],
    candidate: NDArray[np.float64],
    best: NDArray[np.float64],
    policy: GatePolicy,
) -> SourceFigures:
    tolerance, harm = policy.tolerance(source), None
    if _usable(current) and _usable(candidate) and _usable(best):
        excess = candidate - best - tolerance
        harm = float(log10_e(excess, policy.bound, policy.correlation))
    return SourceFigures(
        source, policy.kind(source), _mean_of(current), _mean_of(candidate), _mean_of(best),
        current.size, tolerance, harm,
    )  # fmt: skip


def _objections(figures: SourceFigures, policy: GatePolicy) -> list[Reason]:
    """List the objections to the candidate at one source.

    One that is no worse there than the current release is let through, even where both are beyond
    the tolerance from the best: refusing it would keep what is no better.
    """
    source, before, after, best = figures.source, figures.before, figures.after, figures.best
    if before is None or after is None or best is None or figures.log10_harm is None:
        sentence = f"A loss on {source} is not finite: nothing can be said of this candidate."
        return [Reason("not-finite", source, sentence)]
    if after - best <= figures.tolerance or after <= before:
        return []
    rose = (
        f"{source} ({figures.kind}) is {after - best:.3f} nats worse than the best ever held, "
        f"{figures.tolerance:g} are tolerated"
    )
    if figures.log10_harm >= math.log10(policy.harm):
        evidence = f"the evidence for more than that is 10^{figures.log10_harm:.1f}"
        return [Reason("source-harmed", source, f"{rose}; {evidence}.")]
    return [Reason("over-tolerance", source, f"{rose}, measured on {figures.count} probes.")]


def _evidence(
    current: Losses, candidate: Losses, ordinary: Sequence[str], policy: GatePolicy
) -> float:
    """Compute log10 of the e-value that the mean of the sources' mean gains is above zero."""
    gains = [current[s] - candidate[s] for s in ordinary]
    mean_count = sum(g.size for g in gains) / len(gains)
    weights = [np.full(g.size, mean_count / g.size) for g in gains]
    return float(
        log10_e(np.concatenate(gains), policy.bound, policy.correlation, np.concatenate(weights))
    )


def _usable(losses: NDArray[np.float64]) -> bool:
    return bool((np.abs(losses) < TOO_LARGE).all())  # a NaN is not below anything


def _mean_of(losses: NDArray[np.float64]) -> float | None:
    return float(losses.mean()) if _usable(losses) else None


def _mean(values: Sequence[float | None]) -> float | None:
    there = [v for v in values if v is not None]
    return math.fsum(there) / len(there) if len(there) == len(values) else None
