"""Rules that choose rows by their distances: Krum, multi-Krum, Bulyan's selection, least diameter.

A score adds up a row's squared distances to its nearest others. Rows with equal scores keep the
canonical order of the updates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aggregation.errors import AggregationError
from aggregation.points import Points, Table

MOST_STEPS = 200_000
"""The most steps of the search for the least diameter, over all diameters tried."""


def krum(points: Points, f: int) -> Table:
    """Choose the row with the smallest score.

    Blanchard, El Mhamdi, Guerraoui, Stainer, "Machine Learning with Adversaries: Byzantine
    Tolerant Gradient Descent" (NeurIPS 2017).
    """
    return _chosen(_scores(points.squared_distances, f), 1)


def multi_krum(points: Points, f: int) -> Table:
    """Choose the n − f rows with the smallest scores (Blanchard et al. 2017)."""
    return _chosen(_scores(points.squared_distances, f), points.count - f)


def bulyan(points: Points, f: int) -> Table:
    """Choose n − 2f rows, each the Krum of those that were left.

    El Mhamdi, Guerraoui, Rouault, "The Hidden Vulnerability of Distributed Learning in Byzantium"
    (arXiv 1802.07927).
    """
    left = np.arange(points.count)
    weights = np.zeros(points.count)
    for _ in range(points.count - 2 * f):
        among = points.squared_distances[np.ix_(left, left)]
        best = int(np.argmin(_scores(among, f)))
        weights[left[best]] = 1
        left = np.delete(left, best)
    return weights


def minimum_diameter(points: Points, f: int) -> Table:
    """Choose the n − f rows whose largest distance to each other is smallest, exactly.

    El Mhamdi, Guerraoui, Guirguis, Hoang, Rouault, "Genuinely Distributed Byzantine Machine
    Learning" (arXiv 2003.00010), from Rousseeuw's minimum volume estimators (1985).

    For a diameter, the rows to leave out are those that cover every pair that is farther apart: a
    vertex cover of at most f. Branching on the row with most such pairs takes at most 2^f steps and
    in practice few; the smallest diameter is found by bisection.

    Raises:
        AggregationError: ``too-large`` when it takes more than 200,000 steps.
    """
    apart = points.squared_distances
    diameters = np.unique(apart)
    steps = [0]
    low, high = 0, len(diameters) - 1
    left_out: NDArray[np.intp] = np.zeros(0, np.intp)
    while low < high:
        middle = (low + high) // 2
        cover = _cover(apart > diameters[middle], f, steps)
        if cover is None:
            low = middle + 1
        else:
            high, left_out = middle, cover
    weights = np.ones(points.count)
    weights[left_out] = 0
    spare = f - len(left_out)
    if spare:  # any f may go; the farthest from the rest do
        rest = np.flatnonzero(weights)
        sums = apart[np.ix_(rest, rest)].sum(axis=1)
        weights[rest[np.argsort(-sums, kind="stable")[:spare]]] = 0
    return weights


def _cover(pairs: NDArray[np.bool_], f: int, steps: list[int]) -> NDArray[np.intp] | None:
    """Find at most f rows that touch every pair of a symmetric (m, m) table, or None."""
    steps[0] += 1
    if steps[0] > MOST_STEPS:
        raise AggregationError(
            "too-large",
            f"The least diameter was not found in {MOST_STEPS} steps; use multi_krum, which "
            "approximates it.",
        )
    degrees = pairs.sum(axis=1)
    most = int(np.argmax(degrees))
    degree = int(degrees[most])
    if degree == 0:
        return np.zeros(0, np.intp)
    if int(degrees.sum()) > 2 * f * degree:  # f rows of this degree do not touch so many pairs
        return None
    for out in (np.array([most]), np.flatnonzero(pairs[most])):
        if len(out) > f:
            continue
        left = pairs.copy()
        left[out] = False
        left[:, out] = False
        rest = _cover(left, f - len(out), steps)
        if rest is not None:
            return np.concatenate([out, rest])
        if degree == 1:  # a pair by itself: either row will do
            return None
    return None


def _scores(squared_distances: Table, f: int) -> Table:
    """Return (m,): each row's summed squared distance to its m − f − 2 nearest, at least one."""
    m = len(squared_distances)
    ordered = np.sort(squared_distances + np.diag(np.full(m, np.inf)), axis=1)
    scores: Table = ordered[:, : min(max(m - f - 2, 1), m - 1)].sum(axis=1)
    return scores


def _chosen(scores: Table, count: int) -> Table:
    weights = np.zeros(len(scores))
    weights[np.argsort(scores, kind="stable")[:count]] = 1
    return weights
