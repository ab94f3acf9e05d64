"""Rules that treat each coordinate by itself, by order statistics of its values.

Rows go through a selection network: a fixed list of comparisons between rows. Compiled loops take a
few columns of all rows through it at a time. With numpy alone each comparison is a minimum and a
maximum of two whole rows; there many rows are transposed and sorted instead, which numpy does for
short runs with vector instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from aggregation.blocks import Loops, eights, scratch
from aggregation.updates import Row

Values = Sequence[Row]
"""The (b,) values of each row in some coordinates. Rules must not write to them."""

NETWORK_ROWS = 48
"""The most rows that numpy takes through the network."""
COMPILED_ROWS = 1024
"""The most rows that compiled loops take through the network."""
_TRANSPOSED = 1024
"""Columns to transpose at a time: all their rows fit a cache."""
_APART = 16
"""Columns between two rows: rows a power of two apart would share few lines of a cache."""


@dataclass(frozen=True, eq=False)
class Middle:
    """The result of a rule for some coordinates.

    Attributes:
        centre: (b,) float64.
        counts: (n,) int64, in how many of the columns to look at each row lies within the range
            that the rule kept. A row equal to a kept value is kept, so that equal rows always count
            alike.
    """

    centre: NDArray[np.float64]
    counts: NDArray[np.int64]


def trimmed_mean(values: Values, f: int, looked: slice, loops: Loops) -> Middle:
    """Average the values without the f smallest and the f largest.

    Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates" (arXiv 1803.01498).
    """
    n = len(values)
    if loops and n <= COMPILED_ROWS:
        return _by_loop(loops, loops.middle, values, _compared(n, f), f, looked)
    if n > NETWORK_ROWS:
        middle = _sorted(values)[:, f : n - f]
        centre = np.einsum("ij->i", middle, dtype=np.float64)  # in half the time of middle.mean
        centre /= n - 2 * f
        return Middle(centre, _within(values, looked, middle[looked, 0], middle[looked, -1]))
    rows = _select(values, f)
    total = scratch("total", rows[0].shape, np.float64)
    total[:] = rows[0]
    for row in rows[1:]:
        total += row
    total /= len(rows)
    ends = [row[looked] for row in rows]
    return Middle(total, _within(values, looked, np.minimum.reduce(ends), np.maximum.reduce(ends)))


def median(values: Values, f: int, looked: slice, loops: Loops) -> Middle:
    """Take the middle value, or the mean of the two middle ones (arXiv 1803.01498)."""
    return trimmed_mean(values, (len(values) - 1) // 2, looked, loops)


def mean_around_median(values: Values, f: int, looked: slice, loops: Loops) -> Middle:
    """Average the n − f values nearest to the median.

    Xie, Koyejo, Gupta, "Generalized Byzantine-tolerant SGD" (arXiv 1802.10116).
    """
    return nearest_to_median(values, len(values) - f, looked, loops)


def nearest_to_median(values: Values, count: int, looked: slice, loops: Loops) -> Middle:
    """Average the ``count`` values nearest to the median: neighbours in sorted order.

    Of equally near values the smaller is taken.
    """
    if loops and len(values) <= COMPILED_ROWS:
        network = _compared(len(values), None)
        return _by_loop(loops, loops.nearest, values, network, count, looked)
    ordered = _sorted(values)
    n, columns = ordered.shape[1], np.arange(len(ordered))
    # Halves first: the sum of two large values could overflow.
    centre = 0.5 * ordered[:, (n - 1) // 2].astype(np.float64) + 0.5 * ordered[:, n // 2]
    start = np.zeros(len(ordered), np.intp)
    for at in range(n - count):
        further = (centre - ordered[:, at]) > (ordered[:, at + count] - centre)
        start += further & (start == at)
    low, high = ordered[columns, start], ordered[columns, start + count - 1]
    rank = np.arange(n)
    ordered *= (rank >= start[:, None]) & (rank < start[:, None] + count)
    centre = ordered.sum(axis=1, dtype=np.float64) / count
    return Middle(centre, _within(values, looked, low[looked], high[looked]))


def _by_loop(
    loops: ModuleType,
    loop: Callable[..., None],
    values: Values,
    network: NDArray[np.int64],
    count: int,
    looked: slice,
) -> Middle:
    """Apply a compiled loop to some coordinates; ``count`` is the loop's parameter."""
    n, size, begin = len(values), values[0].size, looked.start
    rows = scratch("rows", (n, size + _APART), np.float32)
    for first, some in eights(values):
        loops.copy(some, rows, first)
    centre, counts = scratch("total", (size,), np.float64), np.empty(n, np.int64)
    low, high = scratch("range", (2, looked.stop - begin), np.float32)
    loop(rows, network, count, begin, centre, low, high)
    loops.within(rows, begin, low, high, counts)
    return Middle(centre, counts)


def _within(values: Values, looked: slice, low: Row, high: Row) -> NDArray[np.int64]:
    """Count for each row the looked-at columns in which it lies within a range."""
    shape = (len(values), len(low))
    rows = scratch("looked", shape, np.float32)
    for at, row in enumerate(values):
        rows[at] = row[looked]
    outside, above = scratch("outside", shape, np.bool_), scratch("above", shape, np.bool_)
    np.less(rows, low, out=outside)
    np.greater(rows, high, out=above)
    outside |= above
    return np.array([row.size - np.count_nonzero(row) for row in outside], np.int64)


def _sorted(values: Values) -> NDArray[np.float32]:
    """Sort each coordinate's values: (b, n), side by side in memory."""
    n, size = len(values), values[0].size
    rows = scratch("rows", (n, size + _APART), np.float32)[:, :size]
    for at, row in enumerate(values):
        rows[at] = row
    columns = scratch("columns", (size, n), np.float32)
    for start in range(0, size, _TRANSPOSED):
        part = slice(start, start + _TRANSPOSED)
        columns[part] = rows[:, part].T
    columns.sort(axis=1)
    return columns


@lru_cache(maxsize=256)
def _compared(n: int, f: int | None) -> NDArray[np.int64]:
    """Return (k, 2): the comparisons that select the middle of n values, or sort them without f."""
    network = _pairwise_sort(list(range(n))) if f is None else selection_network(n, f)
    return np.array([step[:2] for step in network], np.int64).reshape(-1, 2)


def _select(rows: Values, f: int) -> list[Row]:
    """Return rows that hold, in each column, all but the f smallest and the f largest values."""
    steps, middle, buffers = _steps(len(rows), f)
    places = [*rows, *scratch("places", (buffers, rows[0].size), np.float32)]
    for compare, a, b, out in steps:
        compare(places[a], places[b], out=places[out])
    return [places[place] for place in middle]


@lru_cache(maxsize=256)
def _steps(n: int, f: int) -> tuple[tuple[tuple[np.ufunc, int, int, int], ...], list[int], int]:
    """Translate the network into calls of numpy: rows are places 0 … n − 1, buffers come after.

    A result overwrites a buffer whose value is not needed any more: the fewer buffers, the more
    columns fit the cache.

    Returns:
        The calls (function, two input places, output place), the places that hold the middle values
        in the end, and the number of buffers.
    """
    wires, spare, buffers = list(range(n)), list[int](), 0
    steps = []
    for low, high, wants_low, wants_high in selection_network(n, f):
        a, b = wires[low], wires[high]
        wanted = [(low, np.minimum)] * wants_low + [(high, np.maximum)] * wants_high
        ended = [place for place in (a, b) if place >= n]
        for wire, compare in wanted:
            last = wire == wanted[-1][0]  # nobody reads a and b after it
            free = ended if last and ended else spare
            if not free:
                free.append(n + buffers)
                buffers += 1
            wires[wire] = free.pop()
            steps.append((compare, a, b, wires[wire]))
        spare += ended
    return tuple(steps), wires[f : n - f], buffers


@lru_cache(maxsize=256)
def selection_network(n: int, f: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """List comparisons after which wires f … n − f − 1 hold the middle values, in some order.

    The pairwise sorting network, without what does not matter here: the order among the middle
    values, and every value that ends among the dropped ones.

    Returns:
        (i, j, wants_low, wants_high): compare wires i < j; the smaller value goes to i if it is
        wanted, the larger to j if it is. A value that is not wanted is never used again.
    """
    part = [0] * f + [1] * (n - 2 * f) + [2] * f
    untouched = [True] * n
    wanted = [p == 1 for p in part]
    network = []
    for i, j in reversed(_pairwise_sort(list(range(n)))):
        orders_one_part = untouched[i] and untouched[j] and part[i] == part[j]
        if orders_one_part or not (wanted[i] or wanted[j]):
            continue
        network.append((i, j, wanted[i], wanted[j]))
        wanted[i] = wanted[j] = True
        untouched[i] = untouched[j] = False
    return tuple(reversed(network))


def _pairwise_sort(wires: list[int]) -> list[tuple[int, int]]:
    """List the comparisons of Parberry, "The Pairwise Sorting Network" (1992).

    Of the known constructions it leaves the fewest comparisons when only a part is wanted.
    """
    if len(wires) < 2:
        return []
    firsts, seconds = wires[0::2], wires[1::2]
    network = [*zip(firsts, seconds, strict=False)]
    network += _pairwise_sort(firsts) + _pairwise_sort(seconds)
    apart = 1 << max(len(firsts) - 1, 1).bit_length() - 1
    while apart:
        network += zip(seconds, firsts[apart:], strict=False)
        apart //= 2
    return network
