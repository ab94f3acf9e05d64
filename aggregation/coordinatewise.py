"""How a rule that looks at each coordinate by itself goes over the updates.

In blocks of columns that fit the cache, so that every value is read from memory once and no
temporary is as large as the updates. Under masks the columns of a block are grouped by who holds
them: devices come in few ranks, so there are few groups, and in each the rule sees only holders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.rule import Aggregate, check_count
from aggregation.updates import Updates

Row = NDArray[np.float32]
Columns = slice | NDArray[np.intp]

_BLOCK_BYTES = 1 << 20
"""Bytes of a block of columns, all rows together: about what a core's second-level cache holds."""
_LEAST_WIDTH, _MOST_WIDTH = 8192, 16384
"""Columns of a block: fewer, and calling numpy costs more than the work."""


@dataclass(frozen=True, eq=False)
class Middle:
    """What a rule makes of some columns.

    Attributes:
        centre: (b,) float64.
        low, high: (b,) float32, the range of the values that the rule kept; None when it kept all.
    """

    centre: NDArray[np.float64]
    low: Row | None = None
    high: Row | None = None


def by_coordinate(updates: Updates, f: int, middle: Callable[[Sequence[Row]], Middle]) -> Aggregate:
    """Apply ``middle`` to every column that at least 2f + 1 children hold.

    Args:
        middle: gets for some columns the (b,) values of each holder, in canonical order; it must
            not write to them.

    Raises:
        AggregationError: ``bad-f``, ``too-few-updates``.
    """
    n, d = updates.count, updates.size
    check_count(n, f)
    order = updates.canonical_order()
    vector = np.zeros(d, np.float32)
    held, kept = np.zeros(n, np.int64), np.zeros(n, np.int64)
    moved = 0
    width = int(np.clip(_BLOCK_BYTES // (4 * n), _LEAST_WIDTH, _MOST_WIDTH))
    for start in range(0, d, width):
        values = updates.values[:, start : start + width]
        out = vector[start : start + width]
        for holding, columns in _holder_groups(updates, order, slice(start, start + width)):
            if len(holding) < 2 * f + 1:
                continue
            rows = [values[row, columns] for row in holding]
            found = middle(rows)
            out[columns] = found.centre
            count = rows[0].size
            moved += count
            held[holding] += count
            kept[holding] += _within(rows, found)
    vector += np.float32(0)  # -0 becomes 0: which of the two a minimum gives depends on the order
    return Aggregate(vector, kept / np.maximum(held, 1), moved)


def total(rows: Sequence[Row]) -> NDArray[np.float64]:
    """The sum of ``rows`` from first to last, (b,) float64."""
    result = rows[0].astype(np.float64)
    for row in rows[1:]:
        result += row
    return result


def _within(rows: Sequence[Row], found: Middle) -> list[int]:
    """For each row, in how many columns it lies within what was kept."""
    if found.low is None or found.high is None:
        return [row.size for row in rows]
    above, below = np.empty(rows[0].size, np.bool_), np.empty(rows[0].size, np.bool_)
    counts = []
    for row in rows:
        np.greater_equal(row, found.low, out=above)
        np.less_equal(row, found.high, out=below)
        above &= below
        counts.append(int(np.count_nonzero(above)))
    return counts


def _holder_groups(
    updates: Updates, order: list[int], block: slice
) -> Iterator[tuple[list[int], Columns]]:
    """The columns of a block by who holds them: holders in canonical order, columns."""
    if updates.holders is None:
        yield order, slice(None)
        return
    holders = updates.holders[:, block]
    first = holders[:, :1]
    if (holders == first).all():
        yield [row for row in order if first[row, 0]], slice(None)
        return
    patterns = _patterns(holders)
    by_pattern = np.argsort(patterns, kind="stable")
    ends = np.cumsum(np.bincount(patterns))[:-1]
    for columns in np.split(by_pattern, ends):
        of_pattern = holders[:, columns[0]]
        yield [row for row in order if of_pattern[row]], columns


def _patterns(holders: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number the distinct columns of (n, b) bool: (b,) int64, equal where columns are equal."""
    numbers = np.zeros(holders.shape[1], np.int64)
    for start in range(0, holders.shape[0], 32):  # 32 rows at a time beside a number below 2^31
        bits = holders[start : start + 32]
        for row in bits:
            numbers = 2 * numbers + row
        numbers = np.unique(numbers, return_inverse=True)[1].astype(np.int64).reshape(-1)
    return numbers
