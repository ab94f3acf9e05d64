"""Series of several seeds as one, and when each group has learned nearly as much as the best."""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from simulations.report.blocks import Table, Td
from simulations.report.cells import Cell, Points
from simulations.report.grid import Grid, Spread, spread
from simulations.report.text import duration, factor, figure, percent, tier_rank

MOST_STEPS = 120
ENOUGH = 0.9
"""The share of the best loss reduction whose time is compared."""
ALIKE = 0.05
"""Bases that differ by more than this share of the best loss reduction are different tasks."""


def merged(series: Sequence[Points]) -> tuple[Points, tuple[tuple[float, float, float], ...]]:
    """Merge the series of several seeds into their median and their band of least and most.

    A seed takes no part before its first value and keeps its last. A value that is not finite
    counts as infinite.
    """
    places = sorted({x for points in series for x, _ in points})
    if len(places) > MOST_STEPS:
        step = (len(places) - 1) / (MOST_STEPS - 1)
        places = [places[round(i * step)] for i in range(MOST_STEPS)]
    middle, band = [], []
    for x in places:
        values = [v for points in series if (v := value_at(points, x)) is not None]
        middle.append((x, statistics.median(values)))
        band.append((x, min(values), max(values)))
    return tuple(middle), tuple(band) if len(series) > 1 else ()


def value_at(points: Points, x: float) -> float | None:
    """Interpolate between the points; the last value after them, None before."""
    place = bisect.bisect_right(points, x, key=lambda point: point[0])
    if not place:
        return None
    before, value = points[place - 1]
    if not math.isfinite(value):
        return math.inf
    if place == len(points) or not math.isfinite(points[place][1]):
        return value
    after, then = points[place]
    return value + (then - value) * (x - before) / (after - before)


def tiers_of(grid: Grid) -> list[str]:
    """List the tiers with losses, the one to compare cases by first.

    That is what devices are served, else the root: trees of different depth have it in common.
    """
    tiers = {tier for group in grid.groups for cell in group.cells for tier in cell.losses}
    return sorted(tiers, key=lambda tier: (tier != "device", tier_rank(tier)))


@dataclass(frozen=True)
class Reach:
    """When every group reaches a loss, in seconds over seeds; None where a seed never does."""

    target: float
    times: tuple[tuple[str, Spread | None], ...]

    @property
    def first(self) -> float:
        """The least median time."""
        return min(time.median for _, time in self.times if time is not None)


def reach(grid: Grid, tier: str) -> Reach | None:
    """Find when every group reaches ``ENOUGH`` of the best group's loss reduction.

    None with fewer than two groups, when nobody learned, or where bases differ: then one loss is
    not as hard to reach for all.
    """
    curves = [group.losses(tier) for group in grid.groups]
    bases = [one.base for losses in curves for one in losses if one.base is not None]
    ends = [e for losses in curves if (e := _end([one.by_time for one in losses])) is not None]
    if len(grid.groups) < 2 or not bases or not ends or min(ends) >= statistics.median(bases):
        return None
    base = statistics.median(bases)
    if max(bases) - min(bases) > ALIKE * (base - min(ends)):
        return None
    target = base - ENOUGH * (base - min(ends))
    times = []
    for group in grid.groups:
        seconds = [_when(cell, tier, target) for cell in group.cells]
        # A seed that never gets there leaves no median to speak of.
        times.append((group.label, None if None in seconds else spread(seconds)))
    return Reach(target, tuple(times))


def _end(series: Sequence[Points]) -> float | None:
    ends = [points[-1][1] for points in series if points]
    there = [end for end in ends if math.isfinite(end)]
    return statistics.median(there) if there else None


def _when(cell: Cell, tier: str, target: float) -> float | None:
    points = cell.losses[tier].by_time if tier in cell.losses else ()
    return next((at for at, loss in points if loss <= target), None)


def reached_table(grid: Grid, tier: str) -> Table | None:
    """Tabulate ``reach``, with how many times as long as the first each group took."""
    reached = reach(grid, tier)
    if reached is None:
        return None
    first = reached.first
    rows = []
    for label, time in reached.times:
        times = factor(time.median / first) if time and first > 0 else "–"
        strong = time is not None and time.median == first
        shown = time.td(duration, strong=strong) if time else Td("not reached")
        rows.append((label, (shown, Td(times))))
    caption = (
        f"Simulated time to a loss of {figure(reached.target)}: {percent(ENOUGH)} of the best "
        "loss reduction here"
    )
    return Table(("case", "simulated time", "of the shortest"), tuple(rows), caption)
