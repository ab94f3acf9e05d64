"""Loss over rounds and over simulated time: a line for each tier, or for each case."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from typing import Literal

from markupsafe import Markup

from simulations.report.blocks import Block, Fold, Panel, Panels, Section, folded
from simulations.report.cells import Cell, TierLoss
from simulations.report.chart import COLOURS, MOST_LINES, Axis, Line, legend, line_chart
from simulations.report.grid import Grid, Group
from simulations.report.reach import merged, reached_table, tiers_of
from simulations.report.text import time_unit
from simulations.report.tiers import tier_rank

Over = Literal["round", "time"]
MOST_PANELS = 18
OPEN = 6
"""With more panels only those over rounds are open."""


def losses(grid: Grid) -> Section | None:
    """Both charts; of several groups what devices are served, with the tiers folded away."""
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
        whose = "what devices are served" if tiers[0] == "device" else f"the tier “{tiers[0]}”"
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
    series = [(tier, n, _of(group.cells, tier)) for n, tier in enumerate(tiers)]
    marks = sorted({note.at_s for cell in group.cells for note in cell.notes})
    panels = []
    for over in ("round", "time"):
        lines = [_line(tier, style, of, over) for tier, style, of in series]
        everything = [one for _, _, of in series for one in of]
        at = marks[:60] if over == "time" else ()
        panels.append(Panel(_title(over), _chart(lines, everything, over, at)))
    noted = "Triangles at the top mark notes, such as a crash." if marks else ""
    return Panels(tuple(panels), legend([(tier, n) for tier, n, _ in series]), noted)


def _by_case(grid: Grid, tier: str) -> list[Block]:
    """A panel for each column and axis, a line for each row; turned where rows are too many."""
    turned = len(grid.rows) > COLOURS and 1 < len(grid.columns) < len(grid.rows)
    across, along = (grid.rows, grid.columns) if turned else (grid.columns, grid.rows)
    panels: dict[Over, list[Panel]] = {"round": [], "time": []}
    for over, of_panel in itertools.product(panels, across[:MOST_PANELS]):
        lines, everything = [], []
        for style, of_line in enumerate(along[:MOST_LINES]):
            group = grid.at(of_panel, of_line) if turned else grid.at(of_line, of_panel)
            if group is not None:
                series = _of(group.cells, tier)
                lines.append(_line(of_line, style, series, over))
                everything += series
        if any(line.points for line in lines):
            title = " · ".join(part for part in (of_panel, _title(over)) if part)
            panels[over].append(Panel(title, _chart(lines, everything, over)))
    names = legend([(name, style) for style, name in enumerate(along[:MOST_LINES]) if name])
    left = max(len(across) - MOST_PANELS, 0), max(len(along) - MOST_LINES, 0)
    said = f"Not drawn: {left[0]} panels and {left[1]} lines." if any(left) else ""
    if len(across) == 1:
        return [Panels((*panels["round"], *panels["time"]), names, said)]
    first, second = (Panels(tuple(of), names, said) for of in panels.values())
    if len(across) > OPEN:
        return [first, Fold("The same over simulated time", (second,))]
    return [first, second]


def _title(over: Over) -> str:
    return "over rounds" if over == "round" else "over simulated time"


def _of(cells: Sequence[Cell], tier: str) -> list[TierLoss]:
    return [cell.losses[tier] for cell in cells if tier in cell.losses]


def _line(label: str, style: int, of: Sequence[TierLoss], over: Over) -> Line:
    points, band = merged([one.by_round if over == "round" else one.by_time for one in of])
    return Line(label, points, style, band)


def _chart(
    lines: Sequence[Line], of: Sequence[TierLoss], over: Over, marks: Sequence[float] = ()
) -> Markup:
    bases = [one.base for one in of if one.base is not None]
    bests = [one.best for one in of if one.best is not None]
    there = [y for line in lines for _, y in line.points if math.isfinite(y)]
    levels: list[tuple[str, float]] = []
    ceiling = None
    if bases and there:
        base, low = statistics.median(bases), min(there)
        ceiling = max(base + 0.6 * (base - low), base * 1.02, *bases)
        # One level stands for all only where all are nearly the same.
        apart = 0.1 * max(base - low, 0.01 * abs(base))
        if max(bases) - min(bases) <= apart:
            levels.append(("base", base))
        # Far below every line the optimum would press them together.
        if bests and max(bests) - min(bests) <= apart and low - min(bests) < base - low:
            levels.append(("best possible", statistics.median(bests)))
    last = max((x for line in lines for x, _ in line.points), default=1.0)
    x = Axis("closed rounds", lambda value: f"{value:,.0f}", counts=True)
    if over == "time":
        x = time_axis(last)
    return line_chart(lines, x, Axis("loss", tick), levels=levels, marks=marks, ceiling=ceiling)


def time_axis(last: float) -> Axis:
    """An axis of simulated time in the unit that fits its end."""
    unit, scale = time_unit(last)
    return Axis(f"simulated time, {unit}", _in(scale), unit=scale)


def _in(scale: float) -> Callable[[float], str]:
    return lambda value: f"{value / scale:.3g}"


def tick(value: float) -> str:
    """A loss beside an axis."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
