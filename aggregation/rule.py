"""The interface of an aggregation rule and its result.

A rule decides two things: how much each row counts, from the distances between rows, and the value
of a coordinate, from the values of the rows that count in it. Most rules decide only one of them;
without the second the coordinate gets the weighted mean. f, how many may be bad, comes from outside
and is never guessed from the data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.blocks import Loops
from aggregation.order import Middle, Values
from aggregation.points import Points, Table


@dataclass(frozen=True, eq=False)
class Aggregate:
    """The result of an aggregation.

    Attributes:
        vector: (d,) float32, finite; 0 where nothing moved.
        weights: (n,) float64 ≥ 0, how much of the vector each update made, per seat and per
            coordinate that it holds: 1 is as much as if all counted alike, 0 is nothing. Of rules
            per coordinate it is exact up to 65,536 coordinates; above, an eighth is looked at,
            drawn by the seed.
        moved: how many coordinates had enough holders to move.
        clipped: (n,) float64 in [0, 1], the factor that clipping applied to each update.
        applied: the steps that were applied: mixing is left out when it would do harm.
    """

    vector: NDArray[np.float32]
    weights: Table
    moved: int
    clipped: Table
    applied: tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """An aggregation rule.

    Attributes:
        name: its name in configuration and in the ledger.
        least: the fewest rows with which it tolerates f bad ones.
        weigh: how much each row counts, (m,) float64 ≥ 0; None when all count alike.
        middle: what becomes of the values of some coordinates, given those of the rows that count,
            f, in which columns the kept range is asked for, and compiled loops or None; without
            ``middle`` it is their weighted mean.
        sorts: whether ``middle`` sorts however few rows there are, which copies them twice.
    """

    name: str
    least: Callable[[int], int]
    weigh: Callable[[Points, int], Table] | None = None
    middle: Callable[[Values, int, slice, Loops], Middle] | None = None
    sorts: bool = False


def majority(f: int) -> int:
    """Return 2f + 1, the fewest rows of any rule."""
    return 2 * f + 1
