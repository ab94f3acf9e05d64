"""The gate, in its first form: may a candidate become a release?

A candidate passes when the mean loss on the node's probes is not worse than the current release's,
over all probes and for every source. Pure functions on arrays; who measures the losses, and what
happens after a refusal, is the caller's business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.errors import AggregationError

Losses = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class SourceLoss:
    """Mean loss of one source before and after, in nats per token, over ``count`` probes."""

    source: str
    before: float
    after: float
    count: int


@dataclass(frozen=True)
class GateVerdict:
    """``worse`` names what got worse: sources, or ``all`` for the mean over all probes."""

    accepted: bool
    worse: tuple[str, ...]
    sources: tuple[SourceLoss, ...]
    before: float
    after: float


def judge(current: Losses, candidate: Losses) -> GateVerdict:
    """Compare the losses of two models on the same probes.

    Args:
        current, candidate: for each source, the (k,) losses of the same k probes in the same order.

    Raises:
        AggregationError: ``no-probes`` when there is nothing to compare, ``bad-probes`` when the
            two do not belong together. A loss that is not finite counts as worse.
    """
    if not current or any(losses.size == 0 for losses in current.values()):
        raise AggregationError("no-probes", "The gate needs at least one probe of every source.")
    if current.keys() != candidate.keys() or any(
        current[s].shape != candidate[s].shape for s in current
    ):
        raise AggregationError(
            "bad-probes", "The two models were not measured on the same probes of the same sources."
        )
    sources = tuple(
        SourceLoss(s, float(current[s].mean()), float(candidate[s].mean()), current[s].size)
        for s in sorted(current)
    )
    before = float(np.concatenate([current[s] for s in sorted(current)]).mean())
    after = float(np.concatenate([candidate[s] for s in sorted(current)]).mean())
    worse = [s.source for s in sources if not s.after <= s.before]
    if not after <= before:
        worse.append("all")
    return GateVerdict(not worse, tuple(worse), sources, before, after)
