"""The rows a rule compares, as combinations of the updates that are never materialised.

Clipping, mixing and bucketing give every row as a sum of updates with known factors. So a step of
the pipeline is a small table of factors, and all that rules ask for (norms, distances, the spread
around a weighted mean) follows from it and the Gram matrix of the updates, n by n. The updates
themselves are read once for that matrix, once for the outcome, and never copied.

Everything is in float64, where products of any float32 values are exact enough without centring: a
centre would be the attacker's to choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from aggregation.blocks import each_block, gather, scratch, width_of
from aggregation.encoded import EncodedRow
from aggregation.errors import AggregationError, check_count
from aggregation.regions import Regions
from aggregation.updates import Source, Updates

Table = NDArray[np.float64]

_BLOCK_BYTES = 8 << 20
"""Of a block in float64, all rows together: fewer, and calling numpy costs more than the work."""
_MOST_WIDTH = 1 << 16
_MOST_ENTRIES = 1 << 25
"""The most entries of a table of regions by rows by rows."""
_ROUNDING = 64 * np.finfo(np.float64).eps
"""Squared distances below this share of the squared norms are rounding."""


class Inputs:
    """The updates in canonical order, their regions and Gram matrices.

    Args:
        updates: what came in.
        f: how many seats may be bad; a coordinate with fewer than 2f + 1 does not move.

    Raises:
        AggregationError: ``bad-f``, ``too-few-updates``, ``too-large``.
    """

    def __init__(self, updates: Updates, f: int) -> None:
        check_count(sum(updates.seats), f)
        check_count(updates.count, f, least=1)
        self.size, self.f = updates.size, f  # not the updates themselves: see ``inputs_of``
        self.order = updates.canonical_order()
        self.rows = [_read_only(updates.rows[row]) for row in self.order]
        self.seats = np.array([updates.seats[row] for row in self.order], np.int64)
        self.regions = Regions(updates, self.order, 2 * f + 1)

    @cached_property
    def grams(self) -> Table:
        """(R, n, n): the inner products of the updates over the coordinates of each region."""
        n, regions = len(self.rows), self.regions

        def products(block: slice) -> list[tuple[int, Table]]:
            partial = []
            for region, columns in regions.within(block):
                holders = np.flatnonzero(regions.holders[region])
                values = scratch("values", (len(holders), width_of(block, columns)), np.float64)
                gather([self.rows[row] for row in holders], block, columns, values)
                # dot lets go of the interpreter; @ does not while it makes so small a table.
                partial.append((region, np.dot(values, values.T)))
            return partial

        grams = np.zeros((len(regions.sizes), n, n))
        width = int(np.clip(_BLOCK_BYTES // (8 * n), 1024, _MOST_WIDTH))
        for partials in each_block(self.size, width, products):
            for region, product in partials:
                holders = regions.holders[region]
                if holders.all():
                    grams[region] += product
                else:
                    grams[region][np.ix_(holders, holders)] += product
        return grams


_INPUTS: WeakKeyDictionary[Updates, tuple[int, Inputs]] = WeakKeyDictionary()


def inputs_of(updates: Updates, f: int) -> Inputs:
    """Return the inputs of these updates; made once while the updates are in use.

    The Gram matrices take most of the time of many rules, and diagnostics need the same.

    Raises ``AggregationError`` as ``Inputs`` does.
    """
    known = _INPUTS.get(updates)
    if known is None or known[0] != f:
        known = _INPUTS[updates] = (f, Inputs(updates, f))
    return known[1]


def _read_only(row: Source) -> Source:
    """Return a read-only view; whatever kind the row is, compiled loops see one type."""
    if isinstance(row, EncodedRow):  # what it decodes is the reader's own
        return row
    view: NDArray[np.float32] = row.view(np.ndarray)
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Points:
    """m rows, each a combination of the inputs in every region.

    Attributes:
        inputs: the updates.
        mix: (R, m, n) float64, the factors; 0 in rows that do not hold a region.
        holds: (R, m) bool.
        clipped: (n,) float64 in [0, 1], what clipping left of each update.
        own: (m,) int, the update that each row stands for; None once rows are buckets of several.
    """

    inputs: Inputs
    mix: Table
    holds: NDArray[np.bool_]
    clipped: Table
    own: NDArray[np.intp] | None

    @classmethod
    def from_inputs(cls, inputs: Inputs) -> Points:
        """Make one row for each seat.

        Raises ``AggregationError`` ``too-large`` when the tables would take more than 256 MB.
        """
        n, holders = len(inputs.rows), inputs.regions.holders
        seats = int(inputs.seats.sum())
        if len(holders) * seats * seats > _MOST_ENTRIES:
            raise AggregationError(
                "too-large",
                f"{seats} seats and {len(holders)} sets of holders need tables of more than "
                f"{8 * _MOST_ENTRIES >> 20} MB: use fewer seats or fewer device ranks.",
            )
        seat = np.repeat(np.arange(n), inputs.seats)
        rows = np.eye(n)[seat]
        holds = holders[:, seat]
        return cls(inputs, rows * holds[:, :, None], holds, np.ones(n), seat)

    @property
    def count(self) -> int:
        """m, how many rows there are."""
        return int(self.holds.shape[1])

    @cached_property
    def moved(self) -> int:
        """How many coordinates move: those of regions that any row holds."""
        return int(self.inputs.regions.sizes @ self.holds.any(axis=1))

    def scaled(self, factors: Table) -> Points:
        """Multiply every row by its factor, (m,) in [0, 1]."""
        clipped = self.clipped
        if self.own is not None:
            clipped = clipped.copy()
            clipped[self.own] *= factors  # the seats of an update are equal, so is their factor
        return replace(self, mix=self.mix * factors[:, None], clipped=clipped)

    @cached_property
    def gram(self) -> Table:
        """(R, m, m): the inner products of the rows over each region; 0 where one does not hold
        it."""
        gram: Table = self.mix @ self.inputs.grams @ self.mix.transpose(0, 2, 1)
        return gram

    @cached_property
    def held_counts(self) -> Table:
        """(m,): how many moving coordinates each row holds."""
        sizes: Table = self.inputs.regions.sizes.astype(np.float64) @ self.holds
        return sizes

    @cached_property
    def rescale(self) -> Table:
        """(m,): the factor from squares over a row's coordinates to all; 0 if it holds nothing."""
        return _share(float(self.moved), self.held_counts)

    def squared_norms(self, rescaled: bool = True) -> Table:
        """Return (m,) squared norms over what the rows hold, or ``rescaled`` to all coordinates."""
        squares: Table = np.einsum("rii->i", self.gram)
        return squares * self.rescale if rescaled else squares

    @cached_property
    def squared_distances(self) -> Table:
        """(m, m): over the coordinates that both rows hold, rescaled to all that move.

        Rows that share nothing are as far apart as the farthest that do.
        """
        m = self.count
        squares, shared = np.zeros((m, m)), np.zeros((m, m))
        for gram, holds, size in zip(self.gram, self.holds, self.inputs.regions.sizes, strict=True):
            norms = np.diagonal(gram)
            sums = norms[:, None] + norms[None, :]
            apart = sums - 2 * gram
            apart[apart <= _ROUNDING * sums] = 0
            both = holds[:, None] & holds[None, :]
            squares += np.where(both, apart, 0)
            shared += size * both
        squares *= _share(float(self.moved), shared)
        np.fill_diagonal(squares, 0)
        known = shared > 0
        squares[~known] = squares[known].max(initial=0)
        result: Table = np.maximum(squares, squares.T)
        return result

    def region_weights(self, weights: Table) -> Table:
        """Spread (m,) weights over each region's holders: (R, m), each row summing to 1 or 0."""
        spread = self.holds * weights
        totals = spread.sum(axis=1, keepdims=True)
        result: Table = spread * _share(1.0, totals)
        return result

    def deviations(self, weights: Table) -> Table:
        """Return (m, m): inner products of the rows around their weighted mean, rescaled.

        The diagonal is each row's squared distance to the mean over what it holds.
        """
        total = np.zeros((self.count, self.count))
        for gram, holds, a in zip(self.gram, self.holds, self.region_weights(weights), strict=True):
            to_mean = gram @ a
            around = gram - to_mean[:, None] - to_mean[None, :] + a @ to_mean
            total += np.where(holds[:, None] & holds[None, :], around, 0)
        scale = np.sqrt(self.rescale)
        result: Table = total * scale[:, None] * scale[None, :]
        return result

    def squared_deviations(self, weights: Table) -> Table:
        """Return (m,): the rows' squared distances to the weighted mean over what they hold,
        rescaled."""
        total = np.zeros(self.count)
        for gram, holds, a in zip(self.gram, self.holds, self.region_weights(weights), strict=True):
            to_mean = gram @ a
            norms = np.diagonal(gram)
            around = norms - 2 * to_mean + a @ to_mean
            around[around <= _ROUNDING * norms] = 0
            total += np.where(holds, around, 0)
        result: Table = np.maximum(total, 0) * self.rescale
        return result


def regrouped(points: Points, members: Sequence[NDArray[np.intp]], own: bool) -> Points:
    """Make new rows, each the mean of some rows in every region over those that hold it.

    Args:
        points: m rows.
        members: for each new row the rows it is made of.
        own: whether new row i belongs to old row i, and so holds no more than it; otherwise a new
            row holds what any of its members holds.
    """
    regions = len(points.holds)
    factors = np.zeros((regions, len(members), points.count))
    holds = np.zeros((regions, len(members)), np.bool_)
    for new, rows in enumerate(members):
        holding = points.holds[:, rows]
        counts = holding.sum(axis=1)
        holds[:, new] = counts > 0
        if own:
            holds[:, new] &= points.holds[:, new]
        factors[:, new, rows] = holding * _share(1.0, counts)[:, None] * holds[:, new, None]
    return replace(points, mix=factors @ points.mix, holds=holds, own=points.own if own else None)


def _share(total: float, parts: NDArray[np.float64] | NDArray[np.int64]) -> Table:
    """Return ``total / parts``, and 0 where there are no parts."""
    values = np.asarray(parts, np.float64)
    return np.divide(total, values, out=np.zeros_like(values), where=values > 0)
