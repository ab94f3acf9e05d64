"""Combine rows by a rule into one vector: the second and last time the updates are read.

Blocks of columns that fit the cache go to the cores; in each, the rows that count are gathered, or
mixed from the updates by one small matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.blocks import (
    Columns,
    Loops,
    compiled_loops,
    each_block,
    gather,
    scratch,
    width_of,
)
from aggregation.order import NETWORK_ROWS
from aggregation.points import Points, Table
from aggregation.rule import Aggregate, Rule

_BLOCK_BYTES = 10 << 20
"""Bytes of a block of columns, all rows together: a part of the last cache that cores share."""
_SORTED_BYTES = 5 << 20
"""The same where the rows are sorted, which copies them twice."""
_COMPILED_BYTES = 4 << 20
"""The same for compiled loops, which leave the interpreter alone."""
_LEAST_WIDTH, _MOST_WIDTH = 4096, 1 << 17
"""Columns of a block: with fewer, threads wait for the interpreter; with more, for memory."""
_SUMMED_WIDTH = 1 << 16
"""The same for a weighted mean, which reads one row at a time however many there are."""

_EXACT, _LOOKED_PART = 1 << 16, 8
"""Coordinates up to which kept rows are counted in all; above, one coordinate of so many."""

_LARGEST = float(np.finfo(np.float32).max)
_TINY = 1e-30


def combine(points: Points, rule: Rule, applied: tuple[str, ...], seed: int) -> Aggregate:
    """Apply a rule to rows; ``seed`` chooses the columns in which kept rows are counted."""
    inputs = points.inputs
    n = len(inputs.rows)
    weights = np.ones(points.count)
    if rule.weigh is not None and len(inputs.regions.sizes):
        weights = rule.weigh(points, inputs.f)
    size = inputs.size
    # A weighted mean reads each value once: compiled, it is no faster, and takes 120 MB to load.
    loops = compiled_loops(n * size) if rule.middle is not None else None
    work = (
        _WeightedMean(points, weights)
        if rule.middle is None
        else _ByCoordinate(points, weights, rule, seed, loops)
    )
    vector = np.zeros(size, np.float32)
    width = _width(rule, n, loops)

    def run(block: slice) -> list[tuple[int, Table]]:
        shares = []
        for region, columns in inputs.regions.within(block):
            centre, share = work(region, block, columns)
            # Finite whatever is sent, and −0 becomes 0: which it is depends on the order.
            np.clip(centre, -_LARGEST, _LARGEST, out=centre)
            centre += 0.0
            vector[block][columns] = centre
            shares.append((region, share))
        return shares

    by_region = np.zeros((len(inputs.regions.sizes), points.count))
    for shares in each_block(size, width, run):
        for region, share in shares:
            by_region[region] += share
    in_order = _per_update(points, by_region)
    counted, clipped = np.empty(n), np.empty(n)
    counted[inputs.order], clipped[inputs.order] = in_order, points.clipped
    return Aggregate(vector, counted, points.moved, clipped, applied)


def _width(rule: Rule, n: int, loops: Loops) -> int:
    """Return the number of columns of a block."""
    if rule.middle is None:
        return _SUMMED_WIDTH
    if loops:
        return int(np.clip(_COMPILED_BYTES // (4 * n), _LEAST_WIDTH, _MOST_WIDTH))
    sorts = rule.sorts or n > NETWORK_ROWS
    size = _SORTED_BYTES if sorts else _BLOCK_BYTES
    return int(np.clip(size // (4 * n), _LEAST_WIDTH, _MOST_WIDTH))


class _WeightedMean:
    """A weighted mean of the rows, as one weighted sum of the updates."""

    def __init__(self, points: Points, weights: Table) -> None:
        self._inputs = points.inputs
        self._shares = points.region_weights(weights)
        factors = np.einsum("rm,rmn->rn", self._shares, points.mix)
        self._used = [np.flatnonzero(row) for row in factors]
        self._factors = [row[used] for row, used in zip(factors, self._used, strict=True)]
        self._alike = [bool((row == row[:1]).all()) for row in self._factors]

    def __call__(self, region: int, block: slice, columns: Columns) -> tuple[Table, Table]:
        width = width_of(block, columns)
        factors, used = self._factors[region], self._used[region]
        centre = scratch("centre", (width,), np.float64)
        centre[:] = 0
        alike = self._alike[region]  # as in a mean
        scaled = scratch("scaled", (width,), np.float64)
        for row, factor in zip(used, factors, strict=True):  # one at a time: it may be decoded here
            values = self._inputs.rows[row][block][columns]
            if alike:
                centre += values
            else:
                np.multiply(values, factor, out=scaled)
                centre += scaled
        if alike:
            centre *= factors[:1].sum()
        return centre, self._shares[region] * width


class _ByCoordinate:
    """A rule applied to each coordinate, over the rows that count and hold it."""

    def __init__(self, points: Points, weights: Table, rule: Rule, seed: int, loops: Loops) -> None:
        assert rule.middle is not None  # noqa: S101 - chosen by the caller
        self._inputs, self._middle, self._count = points.inputs, rule.middle, points.count
        size = points.inputs.size
        self._loops, self._all = loops, size <= _EXACT
        self._draws = np.random.default_rng(seed).random(size // _LEAST_WIDTH + 1)
        self._regions = [
            _Rows.from_mix(mix, _counted(holds, weights, self._inputs.f))
            for mix, holds in zip(points.mix, points.holds, strict=True)
        ]

    def __call__(self, region: int, block: slice, columns: Columns) -> tuple[Table, Table]:
        rows = self._regions[region]
        share = np.zeros(self._count)
        if rows.single is None:
            used = scratch("used", (len(rows.used), width_of(block, columns)), np.float32)
            mixed = scratch("mixed", (len(rows.rows), used.shape[1]), np.float32)
            gather([self._inputs.rows[row] for row in rows.used], block, columns, used)
            if rows.roots is not None:
                used *= rows.roots
                used *= rows.roots
            values = list(np.matmul(rows.factors, used, out=mixed))
        else:
            values = [self._inputs.rows[rows.used[at]][block][columns] for at in rows.single]
        if not values:
            return np.zeros(width_of(block, columns)), share
        looked = self._looked(block, width_of(block, columns))
        middle = self._middle(values, self._inputs.f, looked, self._loops)
        share[rows.rows] = middle.counts
        return middle.centre, share

    def _looked(self, block: slice, width: int) -> slice:
        """Choose the columns of a block in which the rule tells which rows it kept."""
        if self._all:
            return slice(0, width)
        part = -(-width // _LOOKED_PART)
        start = int(self._draws[block.start // _LEAST_WIDTH] * (width - part + 1))
        return slice(start, start + part)


def _counted(holds: NDArray[np.bool_], weights: Table, f: int) -> NDArray[np.bool_]:
    """Return (m,) bool: the rows that count among the holders of a region.

    These are the chosen rows, unless fewer than 2f + 1 are left: bad rows that small devices take
    for their like would be most of them where small devices hold nothing.
    """
    chosen: NDArray[np.bool_] = holds & (weights > 0)
    return chosen if chosen.sum() >= 2 * f + 1 else holds


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of a region as products: ``factors`` of the updates ``used``.

    ``single`` says which of the updates used each row is, when every row is just one of them.
    Factors that float32 cannot hold are taken out: the updates are multiplied twice by ``roots``.
    """

    rows: NDArray[np.intp]
    used: NDArray[np.intp]
    factors: NDArray[np.float32]
    single: NDArray[np.intp] | None
    roots: NDArray[np.float32] | None

    @classmethod
    def from_mix(cls, mix: Table, counts: NDArray[np.bool_]) -> _Rows:
        rows = np.flatnonzero(counts)
        used = np.flatnonzero(mix[rows].any(axis=0))
        factors, roots = mix[np.ix_(rows, used)], None
        single = None
        plain = (factors == 1).sum(axis=1) == 1
        if (plain & ((factors != 0).sum(axis=1) == 1)).all():
            single = np.nonzero(factors)[1]
        elif (factors[factors > 0] < _TINY).any():
            largest = factors.max(axis=0)
            factors, roots = factors / largest, np.sqrt(largest)[:, None].astype(np.float32)
        return cls(rows, used, factors.astype(np.float32), single, roots)


def _per_update(points: Points, by_region: Table) -> Table:
    """Return (n,): how much each update counted, 1 when all count alike.

    Args:
        by_region: (R, m), how much each row counted in each region, in any unit.
    """
    regions, seats = points.inputs.regions, points.inputs.seats
    total, filled = np.zeros(len(seats)), np.zeros(len(seats))
    for shares, mix, holders, size in zip(
        by_region, points.mix, regions.holders, regions.sizes, strict=True
    ):
        filled += size * holders
        if shares.sum() > 0:
            total += size * (shares @ mix) / shares.sum() * seats[holders].sum()
    result: Table = np.divide(total, filled * seats, out=np.zeros(len(seats)), where=filled > 0)
    return result
