"""The rules that select rows: Krum, multi-Krum, minimum-diameter averaging and Bulyan.

Each selector returns weights, 1 for a selected row and 0 for the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations

from tests.aggregation.reference.choices import Choices, smallest
from tests.aggregation.reference.coordinatewise import Tie, each_coordinate, window
from tests.aggregation.reference.geometry import (
    Row,
    Rows,
    coordinates,
    kind,
    slacks,
    square_distances,
)


def krum_scores(distances: list[list[float]], left: list[int], f: int) -> list[float]:
    """For each row that is left: the sum of squared distances to its nearest others."""
    nearest = max(1, len(left) - f - 2)
    return [math.fsum(sorted(distances[i][j] for j in left if j != i)[:nearest]) for i in left]


def krum(rows: Rows, d: int, f: int, choices: Choices, count: int = 1) -> list[float]:
    """The ``count`` rows with the smallest scores."""
    scores = krum_scores(square_distances(rows, d), list(range(len(rows))), f)
    kinds = [kind(row) for row in rows]
    chosen = smallest(scores, slacks(rows, d, scores), count, kinds, choices)
    return [float(i in chosen) for i in range(len(rows))]


def multi_krum(rows: Rows, d: int, f: int, choices: Choices) -> list[float]:
    """The n - f rows with the smallest scores, computed once."""
    return krum(rows, d, f, choices, len(rows) - f)


def mda(rows: Rows, d: int, f: int, choices: Choices) -> list[float]:
    """The n - f rows of the smallest diameter, by trying every set of so many rows."""
    subsets, diameters, slack, kinds = _diameters(tuple(tuple(row.items()) for row in rows), d, f)
    best = subsets[smallest(diameters, slack, 1, kinds, choices)[0]]
    return [float(i in best) for i in range(len(rows))]


Subsets = tuple[list[tuple[int, ...]], list[float], list[float], list[tuple[str, ...]]]


@lru_cache(maxsize=1)
def _diameters(held: tuple[tuple[tuple[int, float], ...], ...], d: int, f: int) -> Subsets:
    """Every set of n - f rows, its diameter, how far rounding may take that, and its kind.

    Kept for the next outcome of the same rows: there may be hundreds.
    """
    rows = [dict(row) for row in held]
    distances = square_distances(rows, d)
    subsets = list(combinations(range(len(rows)), len(rows) - f))
    diameters = [
        max((distances[i][j] for i, j in combinations(s, 2)), default=0.0) for s in subsets
    ]
    size_slack = slacks(rows, d, [0.0] * len(rows))
    slack = [
        1e-6 * diameter + max(size_slack[i] for i in s)
        for diameter, s in zip(diameters, subsets, strict=True)
    ]
    names = [repr(kind(row)) for row in rows]
    kinds = [tuple(sorted(names[i] for i in s)) for s in subsets]
    return subsets, diameters, slack, kinds


def bulyan(rows: Rows, d: int, f: int, choices: Choices, tie: Tie) -> tuple[Row, Row]:
    """Krum again and again for n - 2f rows, then around their median in each coordinate.

    A coordinate that fewer than 2f + 1 of these rows hold takes all that hold it.
    """
    distances = square_distances(rows, d)
    left, selected = list(range(len(rows))), list[int]()
    if f == 0:
        left, selected = [], left
    while len(selected) < len(rows) - 2 * f:
        scores = krum_scores(distances, left, f)
        slack = slacks([rows[i] for i in left], d, scores)
        place = smallest(scores, slack, 1, [kind(rows[i]) for i in left], choices)[0]
        selected.append(left.pop(place))
    few = [c for c in coordinates(rows) if sum(c in rows[i] for i in selected) < 2 * f + 1]

    def around(values: Sequence[float], f: int, tie: Tie) -> list[float]:
        return window(values, max(1, len(values) - 2 * f), tie)

    vector, size = each_coordinate(around, [rows[i] for i in selected], f, tie)
    of_all, size_of_all = each_coordinate(around, rows, f, tie)
    return vector | {c: of_all[c] for c in few}, size | {c: size_of_all[c] for c in few}
