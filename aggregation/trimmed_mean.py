"""The coordinate-wise trimmed mean: without the f smallest and the f largest, the mean of the rest.

From Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates"
(arXiv 1803.01498). The values to drop are separated by a selection network: a fixed list of
comparisons between rows, each a minimum and a maximum of two whole rows at once, which numpy does
at the speed of the cache. Sorting each column by itself takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from aggregation.coordinatewise import Middle, Row, by_coordinate, total
from aggregation.rule import Aggregate
from aggregation.updates import Updates


class TrimmedMean:
    """For each coordinate the mean over its holders without the f smallest and f largest."""

    name = "trimmed_mean"

    def __call__(self, updates: Updates, f: int) -> Aggregate:
        """Aggregate; see ``Rule``."""
        return by_coordinate(updates, f, lambda rows: _middle(rows, f))


def _middle(rows: Sequence[Row], f: int) -> Middle:
    n = len(rows)
    if f == 0:
        return Middle(total(rows) / n)
    kept = _select(rows, f)
    low, high = kept[0].copy(), kept[0].copy()
    for row in kept[1:]:
        np.minimum(low, row, out=low)
        np.maximum(high, row, out=high)
    return Middle(total(kept) / (n - 2 * f), low, high)


def _select(rows: Sequence[Row], f: int) -> list[Row]:
    """Rows that hold, in each column, all but the f smallest and the f largest values."""
    wires: list[Row] = list(rows)
    ours: list[bool] = [False] * len(rows)  # which wires are buffers that may be written again
    spare: list[Row] = []
    for low, high, wants_low, wants_high in selection_network(len(rows), f):
        a, b = wires[low], wires[high]
        if wants_low:
            wires[low] = np.minimum(a, b, out=spare.pop() if spare else np.empty_like(a))
        if wants_high:
            wires[high] = np.maximum(a, b, out=spare.pop() if spare else np.empty_like(a))
        spare += [wire for wire, own in ((a, ours[low]), (b, ours[high])) if own]
        ours[low], ours[high] = wants_low, wants_high
    return wires[f : len(rows) - f]


@lru_cache(maxsize=256)
def selection_network(n: int, f: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Comparisons after which wires f … n − f − 1 hold the middle values, in some order.

    Batcher's odd-even merge sort, without what does not matter here: the order among the middle
    values, and every value that ends among the dropped ones.

    Returns:
        (i, j, wants_low, wants_high): compare wires i < j; the smaller value goes to i if it is
        wanted, the larger to j if it is. A value that is not wanted is never used again.
    """
    part = [0] * f + [1] * (n - 2 * f) + [2] * f
    untouched = [True] * n
    wanted = [p == 1 for p in part]
    network = []
    for i, j in reversed(_odd_even_merge_sort(n)):
        orders_one_part = untouched[i] and untouched[j] and part[i] == part[j]
        if orders_one_part or not (wanted[i] or wanted[j]):
            continue
        network.append((i, j, wanted[i], wanted[j]))
        wanted[i] = wanted[j] = True
        untouched[i] = untouched[j] = False
    return tuple(reversed(network))


def _odd_even_merge_sort(n: int) -> list[tuple[int, int]]:
    """Batcher's sorting network for n wires (Knuth, TAOCP 3, 5.2.2, algorithm M)."""
    comparisons, p = [], 1
    while p < n:
        k = p
        while k >= 1:
            for start in range(k % p, n - k, 2 * k):
                comparisons += [
                    (i, i + k)
                    for i in range(start, min(start + k, n - k))
                    if i // (2 * p) == (i + k) // (2 * p)
                ]
            k //= 2
        p *= 2
    return comparisons
