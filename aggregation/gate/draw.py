"""Draw the probes of a gate: a fresh, secret subset without those that were used too often.

Every verdict reveals a little about its probes to the sender of the candidate. So the draw is
secret, each gate draws other probes, and a probe retires after a few gates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.errors import AggregationError
from aggregation.gate.policy import GatePolicy, Reuse

Uses = Mapping[str, Mapping[str, int]]
"""The probes of each source, with the number of gates at which each was used."""


@dataclass(frozen=True)
class Draw:
    """The probes of one gate.

    Attributes:
        probes: for each source the names of the probes, sorted.
        reused: sources that were dry, so that retired probes were drawn again.
    """

    probes: Mapping[str, tuple[str, ...]]
    reused: tuple[str, ...] = ()

    def used(self, pool: Uses) -> dict[str, dict[str, int]]:
        """Return the pool after this gate; one gate is one use, however many steps it tried."""
        return {
            source: {name: count + (name in chosen) for name, count in probes.items()}
            for source, probes in pool.items()
            for chosen in [frozenset(self.probes.get(source, ()))]
        }


def draw(pool: Uses, seed: int, policy: GatePolicy) -> Draw:
    """Draw equally many probes of each source, as far as it has them.

    In all ``policy.size``, or ``policy.each`` for each source if that is more. What a small source
    lacks, the others give. The draw depends on the pool, not on its order.

    Args:
        seed: secret, and new for every gate: whoever knows it knows the probes.

    Raises:
        AggregationError: ``no-probes`` for a source without any, ``too-few-probes`` when a source
            is dry and the policy does not reuse what retired.
    """
    if not pool or not all(pool.values()):
        raise AggregationError("no-probes", "The gate needs at least one probe of every source.")
    rng = np.random.default_rng(seed)
    names = {source: sorted(pool[source]) for source in sorted(pool)}
    uses = {
        source: np.array([pool[source][name] for name in names[source]], dtype=np.int64)
        for source in names
    }
    dry = tuple(source for source in names if is_dry(uses[source], policy))
    if dry and policy.reuse is Reuse.NEVER:
        live = int((uses[dry[0]] < policy.retire_after).sum())
        raise AggregationError(
            "too-few-probes",
            f"{dry[0]} has {live} probes left that were used at fewer than {policy.retire_after} "
            f"gates, {min(policy.least, len(names[dry[0]]))} are needed: add probes, or set "
            f'reuse = "{Reuse.WHEN_DRY}".',
        )
    there = {
        source: len(counts) if source in dry else int((counts < policy.retire_after).sum())
        for source, counts in uses.items()
    }
    size = max(policy.size, policy.each * len(pool))
    chosen = {
        source: choose(uses[source], share, rng, policy)
        for source, share in _shares(there, size).items()
    }
    return Draw({s: tuple(names[s][i] for i in chosen[s]) for s in names}, dry)


def is_dry(uses: NDArray[np.int64], policy: GatePolicy) -> bool:
    """Return whether too few of a source's probes, used at (k,) gates each, are still live."""
    return int((uses < policy.retire_after).sum()) < min(policy.least, uses.size)


def choose(
    uses: NDArray[np.int64], count: int, rng: np.random.Generator, policy: GatePolicy
) -> NDArray[np.int64]:
    """Choose ``count`` positions in (k,) uses, ascending, at random among live probes.

    Of a dry source at random too, but those that were used least come first.
    """
    order = rng.permutation(uses.size)
    if is_dry(uses, policy):
        order = order[np.argsort(uses[order], kind="stable")]
    else:
        order = order[uses[order] < policy.retire_after]
    return np.sort(order[:count])


def _shares(there: Mapping[str, int], size: int) -> dict[str, int]:
    """Divide ``size`` equally between the sources, as far as each has probes."""
    shares: dict[str, int] = {}
    left = size
    for done, source in enumerate(sorted(there, key=lambda s: (there[s], s))):
        shares[source] = min(there[source], left // (len(there) - done))
        left -= shares[source]
    return shares
