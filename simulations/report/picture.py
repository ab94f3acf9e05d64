"""The picture: the main comparison and the loss over time, for documents without a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from simulations.report.attacks import Siege
from simulations.report.charts import COLOURS, Chart, shorten, to_png
from simulations.report.compare import loss
from simulations.report.costs import growth_chart, scales
from simulations.report.forgotten import forgotten
from simulations.report.grid import Grid, Spread
from simulations.report.losses import SERVED, Curve, loss_chart, tiers_of
from simulations.report.text import percent

MOST_LINES = 8
"""Of more lines no picture can be made that is read without its page."""
MOST_ROWS = 40
LONGEST = 44
CURVES_INCHES = 5.5


def draw(title: str, grid: Grid, attacked: Siege | None) -> bytes:
    """Make the PNG: the main comparison, and beside it the loss over time of a few cases."""
    rows, columns = len(grid.groups), 1
    if attacked is not None:
        main, name = _heat_chart(attacked), "kept of the attack-free loss reduction"
        rows, columns = len(attacked.rows), len(attacked.attacks)
        if attacked.attacks_down:
            rows, columns = columns, rows
    elif growing := scales(grid):
        main, name = growth_chart(growing), "times the smallest"
    elif learners := forgotten(grid):
        main, name = _range_chart(learners), "forgetting"
    else:
        main = _range_chart([(group.label, group.spread(loss)) for group in grid.groups])
        name = "final held-out loss" if grid.groups else "No cell is finished yet"
    panels = [(name, max(CURVES_INCHES, 3 + 0.75 * columns), main)]
    curves_name, curves = _curves(grid, attacked)
    if 0 < len(curves) <= MOST_LINES:
        panels.append((curves_name, CURVES_INCHES, loss_chart(curves, "simulated time")))
    return to_png(title, panels, max(4.2, 1.6 + 0.3 * min(rows, MOST_ROWS)))


def _heat_chart(attacked: Siege) -> Chart:
    """What is left under each attack, coloured and in percent."""
    shares = np.full((len(attacked.rows), len(attacked.attacks)), np.nan)
    for (row, attack), share in attacked.shares.items():
        shares[attacked.rows.index(row), attacked.attacks.index(attack)] = share.median
    rows, columns = attacked.rows, attacked.attacks
    if attacked.attacks_down:
        rows, columns, shares = columns, rows, shares.T

    def draw_heat(axes: Axes) -> None:
        shown = shares[:MOST_ROWS]
        axes.imshow(np.clip(shown, 0, 1), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (i, j), share in np.ndenumerate(shown):
            if not np.isnan(share):
                colour = "black" if share > 0.55 else "white"
                axes.text(j, i, percent(float(share)), ha="center", va="center", color=colour)
        names = [shorten(column, 24) for column in columns]
        axes.set_xticks(range(len(columns)), names, rotation=30, ha="right")
        names = [shorten(row or "all cells", LONGEST) for row in rows[:MOST_ROWS]]
        axes.set_yticks(range(len(names)), names)
        axes.tick_params(length=0)
        axes.grid(False)

    return Chart(draw_heat)


def _range_chart(cases: Sequence[tuple[str, Spread | None]]) -> Chart:
    """A dot for each case with its range over seeds, from the top."""

    def draw_ranges(axes: Axes) -> None:
        for row, (_, over) in enumerate(cases[:MOST_ROWS]):
            if over is not None and math.isfinite(over.most):
                axes.plot([over.least, over.most], [row, row], color=COLOURS[0])
                axes.plot(over.median, row, "o", color=COLOURS[0])
            elif over is not None:
                axes.text(0.02, row, "diverged", transform=axes.get_yaxis_transform())
        names = [shorten(name, LONGEST) for name, _ in cases[:MOST_ROWS]]
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(max(len(names), 1) - 0.5, -0.5)
        axes.margins(x=0.05)
        axes.grid(axis="x")

    return Chart(draw_ranges)


def _curves(grid: Grid, attacked: Siege | None) -> tuple[str, Sequence[Curve]]:
    """Choose the lines to draw: of attacked rows each under the attack that harms it most."""
    tiers = tiers_of(grid)
    if not tiers:
        return "", []
    title = f"held-out loss, {SERVED if tiers[0] == 'device' else tiers[0]}"
    if attacked is None and len(grid.groups) == 1:
        only = grid.groups[0]
        return "held-out loss, by tier", [(t, n, only.losses(t)) for n, t in enumerate(tiers)]
    groups = list(grid.groups)
    if attacked is not None:
        worst = [attacked.grid.at(row, attacked.worst(row)[1]) for row in attacked.rows]
        groups = [group for group in worst if group is not None]
        title += ", under the worst attack"
    return title, [(g.label, style, g.losses(tiers[0])) for style, g in enumerate(groups)]
