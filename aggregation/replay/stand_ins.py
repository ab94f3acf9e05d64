"""Stand in for absent children with their last accepted updates, fading.

The last accepted delta of an absent child is replayed with factors ½, ¼, …: their sum stays below
1, so that a child that left cannot move its parent further than by one more of its updates.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

from aggregation.errors import AggregationError

MOST = 6
"""Rounds that a child is stood in for; after them the factor would be below 1 in 100."""

Child = TypeVar("Child", bound=Hashable)


def stand_ins(
    stood_in: Mapping[Child, int], barred: Collection[Child] = (), most: int = MOST
) -> dict[Child, float]:
    """Return factors for the last accepted deltas of absent children; others are left out.

    Args:
        stood_in: for each absent child with an accepted delta, in how many rounds it was stood in
            for since it last answered.
        barred: children that are quarantined or revoked.

    Raises:
        AggregationError: ``bad-stand-in`` for a count below 0.
    """
    if any(rounds < 0 for rounds in stood_in.values()):
        raise AggregationError(
            "bad-stand-in", "The rounds in which a child was stood in for must be 0 or more."
        )
    return {
        child: 0.5 ** (rounds + 1)
        for child, rounds in stood_in.items()
        if rounds < most and child not in barred
    }
