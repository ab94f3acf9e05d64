"""Loss over rounds and over simulated time: a line for each tier, or for each case."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import Literal

from simulations.report.blocks import Block, Fold, Panels, Section, folded
from simulations.report.cells import TierLoss
from simulations.report.charts import COLOURS, MOST_LINES, Axis, Chart, Line, legend, line_chart
from simulations.report.grid import Grid, Group
from simulations.report.reach import merged, reached_table, tiers_of
from simulations.report.text import tier_rank, time_unit

Over = Literal["rounds", "simulated time"]
OVER: tuple[Over, Over] = ("rounds", "simulated time")
MOST_PANELS = 18
MOST_MARKS = 60
OPEN = 6
"""With more panels only those over rounds are open."""
SERVED = "what devices are served"

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
