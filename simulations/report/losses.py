"""Loss over rounds and over simulated time, and when each group has learned nearly enough."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulations.report.blocks import Block, Fold, Panels, Section, Table, Td, folded
from simulations.report.cells import CellSummary, Points, TierLoss, thinned
from simulations.report.charts import (
    COLOURS,
    MOST_LINES,
    Axis,
    Band,
    Chart,
    Line,
    legend,
    line_chart,
)
from simulations.report.grid import Grid, Group, Spread, spread
from simulations.report.text import duration, factor, figure, percent, tier_rank, time_unit

Over = Literal["rounds", "simulated time"]
OVER: tuple[Over, Over] = ("rounds", "simulated time")
MOST_PANELS = 18
MOST_MARKS = 60
OPEN = 6
"""With more panels only those over rounds are open."""
SERVED = "what devices are served"

ENOUGH = 0.9
"""The share of the best loss reduction whose time is compared."""
ALIKE = 0.05
"""Bases that differ by more than this share of the best loss reduction are different tasks."""

Curve = tuple[str, int, Sequence[TierLoss]]
"""A label, a style, and the losses of every seed."""


def losses(grid: Grid) -> Section | None:
    """Draw all tiers of a single group; of several groups one tier, with the others folded."""
    tiers = tiers_of(grid)
    if not tiers:
        return None
    if len(grid.groups) == 1:
        blocks = [_by_tier(grid.groups[0], sorted(tiers, key=tier_rank))]
        text = "Mean held-out loss over the scopes of each tier. Lower is better."
        if "device" in tiers:
            text += (
                " “Device” is what devices are served: the mean over the scopes they hang below."
            )
    else:
        blocks = _by_case(grid, tiers[0])
        whose = SERVED if tiers[0] == "device" else f"the tier “{tiers[0]}”"
        text = (
            f"Mean held-out loss of {whose}: median over seeds, bands from least to most. Lower is "
            "better; a line that leaves the top has run away."
        )
        if (table := reached_table(grid, tiers[0])) is not None:
            blocks.append(folded(table))
        for tier in tiers[1:]:
            blocks.append(Fold(f"The same for the tier “{tier}”", tuple(_by_case(grid, tier))))
    return Section("loss", "Loss", text, tuple(blocks))


def _by_tier(group: Group, tiers: Sequence[str]) -> Block:
    curves = [(tier, style, group.losses(tier)) for style, tier in enumerate(tiers)]
    marks = sorted({note.at_s for cell in group.cells for note in cell.notes})
    panels = [(f"over {over}", loss_chart(curves, over, marks)) for over in OVER]
    caption = "Triangles at the top mark notes, such as a crash." if marks else ""
    return Panels(tuple(panels), legend(panels[0][1].key), caption)


def _by_case(grid: Grid, tier: str) -> list[Block]:
    """Draw a panel for each column, a line for each row; turned where rows are too many."""
    turned = len(grid.rows) > len(COLOURS) and 1 < len(grid.columns) < len(grid.rows)
    across, along = (grid.rows, grid.columns) if turned else (grid.columns, grid.rows)
    panels: dict[Over, list[tuple[str, Chart]]] = {over: [] for over in OVER}
    for over, panel in itertools.product(OVER, across[:MOST_PANELS]):
        curves: list[Curve] = []
        for style, line in enumerate(along[:MOST_LINES]):
            group = grid.at(panel, line) if turned else grid.at(line, panel)
            if group is not None:
                curves.append((line, style, group.losses(tier)))
        if any(series for _, _, series in curves):
            title = " · ".join(part for part in (panel, f"over {over}") if part)
            panels[over].append((title, loss_chart(curves, over)))
    key = [(name, n) for n, name in enumerate(along[:MOST_LINES]) if name]
    left = max(len(across) - MOST_PANELS, 0), max(len(along) - MOST_LINES, 0)
    caption = f"Not drawn: {left[0]} panels and {left[1]} lines." if any(left) else ""
    names = legend(key) if key else None
    if len(across) == 1:
        return [Panels((*panels[OVER[0]], *panels[OVER[1]]), names, caption)]
    first, second = (Panels(tuple(panels[over]), names, caption) for over in OVER)
    if len(across) > OPEN:
        return [first, Fold("The same over simulated time", (second,))]
    return [first, second]


def loss_chart(curves: Sequence[Curve], over: Over, marks: Sequence[float] = ()) -> Chart:
    """Draw curves with the levels that all of them share; ``marks`` are moments in seconds."""
    merged_curves = []
    for label, style, series in curves:
        points = [one.by_round if over == "rounds" else one.by_time for one in series]
        merged_curves.append((label, style, *merged(points)))
    x, scale = Axis("closed rounds", lambda value: f"{value:,.0f}", counts=True), 1.0
    if over == "simulated time":
        ends = [points[-1][0] for _, _, points, _ in merged_curves if points]
        unit, scale = time_unit(max(ends, default=1.0))
        x = Axis(f"simulated time, {unit}", lambda value: f"{value:.3g}")
    lines = [
        Line(
            label,
            tuple((x / scale, y) for x, y in points),
            style,
            tuple((x / scale, least, most) for x, least, most in band),
        )
        for label, style, points, band in merged_curves
    ]
    at = [mark / scale for mark in marks[:MOST_MARKS]] if over == "simulated time" else []
    levels, ceiling = _levels(lines, [one for _, _, series in curves for one in series])
    return line_chart(lines, x, Axis("loss", tick), levels=levels, marks=at, ceiling=ceiling)


def _levels(
    lines: Sequence[Line], series: Sequence[TierLoss]
) -> tuple[list[tuple[str, float]], float]:
    """Choose the levels to name, and the ceiling above which a line has run away."""
    bases = [one.base for one in series if one.base is not None]
    bests = [one.best for one in series if one.best is not None]
    finite = [y for line in lines for _, y in line.points if math.isfinite(y)]
    if not bases or not finite:
        return [], math.inf
    levels = []
    base, low = statistics.median(bases), min(finite)
    # One level stands for all only where all are nearly the same.
    alike = 0.1 * max(base - low, 0.01 * abs(base))
    if max(bases) - min(bases) <= alike:
        levels.append(("base", base))
    # Far below every line the optimum would press them together.
    if bests and max(bests) - min(bests) <= alike and low - min(bests) < base - low:
        levels.append(("best possible", statistics.median(bests)))
    return levels, max(base + 0.6 * (base - low), base * 1.02, *bases)


def tick(value: float) -> str:
    """Write a loss beside an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def merged(series: Sequence[Points]) -> tuple[Points, Band]:
    """Merge the series of several seeds into their median and their band of least and most.

    A seed takes no part before its first value and keeps its last. A value that is not finite
    counts as infinite.
    """
    series = [points for points in series if points]
    every_x = sorted({x for points in series for x, _ in points})
    if not every_x:
        return (), ()
    places = [x for x, _ in thinned([(x, 0.0) for x in every_x])]
    values = []
    for points in series:
        xs, ys = np.array(points).T
        values.append(np.interp(places, xs, np.where(np.isfinite(ys), ys, np.inf), left=np.nan))
    middle = np.nanmedian(values, axis=0).tolist()
    least, most = np.nanmin(values, axis=0).tolist(), np.nanmax(values, axis=0).tolist()
    band = tuple(zip(places, least, most, strict=True)) if len(series) > 1 else ()
    return tuple(zip(places, middle, strict=True)), band


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


def _when(cell: CellSummary, tier: str, target: float) -> float | None:
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
