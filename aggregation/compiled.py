"""The rules' hot loops, compiled by numba where it is installed.

``order.py`` and ``combine.py`` do the same without it, by calls of numpy over whole rows. Those go
to the cache and back for every comparison; here a few columns of all rows stay in the nearest cache
until they are done with. Both give the same, but for the order in which sums are added.

Compiled once for each kind of processor and kept beside this file, or in the user's cache. While a
loop runs, other threads may hold the interpreter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from aggregation.updates import Row

LANES = 64
"""Columns that go through the network together: of 100 rows they just fit the nearest cache."""
Eight = tuple[Row, Row, Row, Row, Row, Row, Row, Row]
"""``blocks.AT_ONCE`` rows, as they lie in memory."""

T = TypeVar("T")


def compile_loop(loop: Callable[..., T]) -> Callable[..., T]:
    """Compile a loop, and keep it on disk where there is a place for it."""
    compile_: Any = njit
    try:
        return compile_(nogil=True, cache=True)(loop)  # type: ignore[no-any-return]
    except RuntimeError:  # there is nowhere to keep it
        return compile_(nogil=True)(loop)  # type: ignore[no-any-return]


@compile_loop
def _order(smaller: Row, larger: Row) -> None:
    for c in range(LANES):
        a, b = smaller[c], larger[c]
        smaller[c] = a if a < b else b
        larger[c] = b if a < b else a


@compile_loop
def _load(lanes: Row, values: Row) -> None:
    for c in range(len(values)):
        lanes[c] = values[c]


@compile_loop
def _through(
    values: NDArray[np.float32],
    start: int,
    end: int,
    network: NDArray[np.int64],
    lanes: NDArray[np.float32],
) -> None:
    """Take some columns through a selection network; the result ends in ``lanes``, (n, LANES)."""
    for i in range(len(values)):
        _load(lanes[i], values[i, start:end])
    for k in range(len(network)):
        _order(lanes[network[k, 0]], lanes[network[k, 1]])


@compile_loop
def middle(
    values: NDArray[np.float32],
    network: NDArray[np.int64],
    f: int,
    begin: int,
    centre: NDArray[np.float64],
    low: Row,
    high: Row,
) -> None:
    """Average each column without its f smallest and f largest values.

    Args:
        values: (n, b or more).
        network: (k, 2), comparisons after which rows f … n − f − 1 hold the middle values.
        f: how many to drop at each end.
        begin: the column that ``low`` and ``high`` begin with.
        centre: (b,), written to.
        low, high: (l,), written to: the range of the middle values.
    """
    n, width = len(values), len(centre)
    stop = begin + len(low)
    lanes = np.zeros((n, LANES), np.float32)
    total = np.zeros(LANES)
    for start in range(0, width, LANES):
        end = min(start + LANES, width)
        _through(values, start, end, network, lanes)
        for c in range(LANES):
            total[c] = lanes[f, c]
        for i in range(f + 1, n - f):
            for c in range(LANES):
                total[c] += lanes[i, c]
        for c in range(end - start):
            centre[start + c] = total[c] / (n - 2 * f)
        for at in range(max(start, begin), min(end, stop)):
            c = at - start
            smallest = largest = lanes[f, c]
            for i in range(f + 1, n - f):
                smallest, largest = min(smallest, lanes[i, c]), max(largest, lanes[i, c])
            low[at - begin], high[at - begin] = smallest, largest


@compile_loop
def nearest(
    values: NDArray[np.float32],
    network: NDArray[np.int64],
    count: int,
    begin: int,
    centre: NDArray[np.float64],
    low: Row,
    high: Row,
) -> None:
    """Average the ``count`` values of each column that are nearest to its median.

    Args:
        values: (n, b or more).
        network: (k, 2), comparisons that sort n values.
        count: how many to keep; of equally near values the smaller.
        begin: the column that ``low`` and ``high`` begin with.
        centre: (b,), written to.
        low, high: (l,), written to: the range of the values that were kept.
    """
    n, width = len(values), len(centre)
    stop = begin + len(low)
    lanes = np.zeros((n, LANES), np.float32)
    for start in range(0, width, LANES):
        end = min(start + LANES, width)
        _through(values, start, end, network, lanes)
        for at in range(start, end):
            c = at - start
            # Halves first: the sum of two large values could overflow.
            median = 0.5 * lanes[(n - 1) // 2, c] + 0.5 * lanes[n // 2, c]
            first = 0
            while first < n - count and median - lanes[first, c] > lanes[first + count, c] - median:
                first += 1
            total = 0.0
            for i in range(first, first + count):
                total += lanes[i, c]
            centre[at] = total / count
            if begin <= at < stop:
                low[at - begin], high[at - begin] = lanes[first, c], lanes[first + count - 1, c]


@compile_loop
def within(
    values: NDArray[np.float32], begin: int, low: Row, high: Row, counts: NDArray[np.int64]
) -> None:
    """Count for each row the columns from ``begin`` on with a value between ``low`` and ``high``.

    Args:
        values: (n, b or more).
        begin: the column that ``low`` and ``high`` begin with.
        low, high: (l,), both included.
        counts: (n,), written to.
    """
    for i in range(len(values)):
        row, count = values[i, begin : begin + len(low)], 0
        for c in range(len(low)):
            count += (row[c] >= low[c]) & (row[c] <= high[c])
        counts[i] = count


@compile_loop
def copy(rows: Eight, values: NDArray[np.float32], first: int) -> None:
    """Copy rows, (b,) each, to ``values``, (n, b or more), from row ``first`` to its last."""
    for i in range(min(len(rows), len(values) - first)):
        _load(values[first + i], rows[i])


@compile_loop
def add(rows: Eight, factors: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    """Add rows, (b,) each, times their ``factors``, (8,), to ``total``, one by one."""
    r0, r1, r2, r3, r4, r5, r6, r7 = rows
    f0, f1, f2, f3, f4, f5, f6, f7 = factors
    for c in range(len(total)):
        t = total[c]
        t += f0 * r0[c]
        t += f1 * r1[c]
        t += f2 * r2[c]
        t += f3 * r3[c]
        t += f4 * r4[c]
        t += f5 * r5[c]
        t += f6 * r6[c]
        t += f7 * r7[c]
        total[c] = t
