"""Diagnostics of an aggregation for the ledger: how the updates lie to the aggregate.

An operator reads from it which updates were clipped, which lie far away, and whether another rule
would have given another result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from aggregation import centring, selection
from aggregation.blocks import each_block
from aggregation.points import Inputs, Points, Table, inputs_of
from aggregation.rule import Aggregate
from aggregation.updates import Updates

_WIDTH = 1 << 14


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """How the updates lie to the aggregate, over the coordinates that moved.

    Attributes:
        norms: (n,), the length of each update over what it holds.
        distances: (n,), from each update to the aggregate over what the update holds, rescaled to
            all coordinates that moved.
        cosines: (n,), between each update and the aggregate over what it holds, or 0.
        agreement: by rule, the cosine between the aggregate and what that rule alone makes of the
            same updates.
    """

    norms: Table
    distances: Table
    cosines: Table
    agreement: Mapping[str, float]

    def far(self, factor: float = 2.0) -> Table:
        """Mark, (n,) bool, who lies farther from the aggregate than ``factor`` times the median."""
        return np.asarray(self.distances > factor * np.median(self.distances))


def diagnose(updates: Updates, aggregate: Aggregate, f: int) -> Diagnostics:
    """Compare the updates with their aggregate, and the aggregate with other rules.

    Raises ``AggregationError``: what the rules refuse.
    """
    inputs = inputs_of(updates, f)
    points = Points.from_inputs(inputs)
    n, regions = len(inputs.rows), inputs.regions
    products, squares = _products(inputs, aggregate)
    own = np.einsum("rii->ri", inputs.grams)
    coordinates = regions.sizes @ regions.holders
    rescale = np.divide(float(regions.moved), coordinates, out=np.zeros(n), where=coordinates > 0)
    lengths = own.sum(axis=0)
    of_aggregate = (squares[:, None] * regions.holders).sum(axis=0)
    inner = products.sum(axis=0)
    apart = np.maximum(lengths - 2 * inner + of_aggregate, 0) * rescale
    rules: dict[str, Callable[[], Table]] = {
        "mean": lambda: np.ones(points.count),
        "geometric_median": lambda: centring.geometric_median(points, f),
        "multi_krum": lambda: selection.multi_krum(points, f),
    }
    agreement = {
        name: _cosine_with(points, weigh(), products, float(squares.sum()))
        for name, weigh in rules.items()
    }
    back = np.argsort(inputs.order)
    return Diagnostics(
        np.sqrt(lengths)[back],
        np.sqrt(apart)[back],
        _cosine(inner, np.sqrt(lengths * of_aggregate))[back],
        agreement,
    )


def _products(inputs: Inputs, aggregate: Aggregate) -> tuple[Table, Table]:
    """Compute per region (R, n) inner products of updates and aggregate, and (R,) its squares."""
    n, regions = len(inputs.rows), inputs.regions
    products, squares = np.zeros((len(regions.sizes), n)), np.zeros(len(regions.sizes))

    def look(block: slice) -> list[tuple[int, Table, float]]:
        partial = []
        for region, columns in regions.within(block):
            vector = aggregate.vector[block][columns].astype(np.float64)
            inner = np.zeros(n)
            for row in np.flatnonzero(regions.holders[region]):
                inner[row] = inputs.rows[row][block][columns].astype(np.float64) @ vector
            partial.append((region, inner, float(vector @ vector)))
        return partial

    for partials in each_block(inputs.size, _WIDTH, look):
        for region, inner, square in partials:
            products[region] += inner
            squares[region] += square
    return products, squares


def _cosine_with(points: Points, weights: Table, products: Table, square: float) -> float:
    """Return the cosine between the aggregate and the weighted mean of the rows."""
    factors = np.einsum("rm,rmn->rn", points.region_weights(weights), points.mix)
    inner = float((factors * products).sum())
    length = float(np.einsum("rn,rnk,rk->", factors, points.inputs.grams, factors))
    return float(_cosine(np.array(inner), np.array(np.sqrt(max(length, 0.0) * square))))


def _cosine(inner: Table, lengths: Table) -> Table:
    result: Table = np.divide(inner, lengths, out=np.zeros_like(inner), where=lengths > 0)
    return np.clip(result, -1, 1)
