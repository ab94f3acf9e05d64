"""The picture: the main comparison and the loss over time, for documents without a page."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from simulations.report.attacks import Siege
from simulations.report.charts import COLOURS, Chart, shorten, to_png
from simulations.report.compare import loss
from simulations.report.costs import growth_chart, scales
from simulations.report.forgotten import forgotten
from simulations.report.grid import Grid, Spread
from simulations.report.losses import SERVED, Curve, loss_chart
from simulations.report.reach import tiers_of
from simulations.report.text import percent

MOST_LINES = 8
"""Of more lines no picture can be made that is read without its page."""
MOST_ROWS = 40
LONGEST = 44
CURVES_INCHES = 5.5


@dataclass(frozen=True)
class HeatChart(Chart):
    """What is left under each attack, coloured and in percent; NaN where there is nothing."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    shares: tuple[tuple[float, ...], ...]

    @property
    def text(self) -> str:
        """Rows and columns."""
        return f"{', '.join(self.rows)} under {', '.join(self.columns)}"

    def draw(self, axes: Axes) -> None:
        """Draw a box for each share."""
        shares = np.array(self.shares)
        axes.imshow(np.clip(shares, 0, 1), cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (i, j), share in np.ndenumerate(shares):
            if not np.isnan(share):
                colour = "black" if share > 0.55 else "white"
                axes.text(j, i, percent(share), ha="center", va="center", color=colour)
        columns = [shorten(column, 24) for column in self.columns]
        axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
        axes.set_yticks(range(len(self.rows)), [shorten(row, LONGEST) for row in self.rows])
        axes.tick_params(length=0)
        axes.grid(False)


@dataclass(frozen=True)
class RangeChart(Chart):
    """A dot for each case with its range over seeds, from the top."""

    cases: tuple[tuple[str, Spread | None], ...]

    @property
    def text(self) -> str:
        """The cases."""
        return ", ".join(label for label, _ in self.cases)

    def draw(self, axes: Axes) -> None:
        """Draw a row for each case."""
        for row, (_, over) in enumerate(self.cases):
            if over is not None and math.isfinite(over.most):
                axes.plot([over.least, over.most], [row, row], color=COLOURS[0])
                axes.plot(over.median, row, "o", color=COLOURS[0])
            elif over is not None:
                axes.text(0.02, row, "diverged", transform=axes.get_yaxis_transform())
        axes.set_yticks(range(len(self.cases)), [shorten(name, LONGEST) for name, _ in self.cases])
        axes.set_ylim(len(self.cases) - 0.5, -0.5)
        axes.margins(x=0.05)
        axes.grid(axis="x")


def draw(title: str, grid: Grid, attacked: Siege | None) -> bytes:
    """Make the PNG: the main comparison, and beside it the loss over time of a few cases."""
    rows, columns = len(grid.groups), 1
    main: Chart
    if attacked is not None:
        main, name = _heat(attacked), "kept of the attack-free loss reduction"
        rows, columns = len(main.rows), len(main.columns)
    elif growing := scales(grid):
        main, name = growth_chart(growing), "times the smallest"
    elif learners := forgotten(grid):
        main, name = RangeChart(tuple(learners[:MOST_ROWS])), "forgetting"
    else:
        ends = tuple((group.label, group.spread(loss)) for group in grid.groups[:MOST_ROWS])
        main, name = RangeChart(ends), "final held-out loss" if ends else "No cell is finished yet"
    panels = [(name, max(CURVES_INCHES, 3 + 0.75 * columns), main)]
    curves_name, curves = _curves(grid, attacked)
    if 0 < len(curves) <= MOST_LINES:
        panels.append((curves_name, CURVES_INCHES, loss_chart(curves, "simulated time")))
    return to_png(title, panels, max(4.2, 1.6 + 0.3 * min(rows, MOST_ROWS)))


def _heat(attacked: Siege) -> HeatChart:
    shares = np.full((len(attacked.rows), len(attacked.attacks)), np.nan)
    for (row, attack), share in attacked.shares.items():
        shares[attacked.rows.index(row), attacked.attacks.index(attack)] = share.median
    rows, columns = tuple(row or "all cells" for row in attacked.rows), attacked.attacks
    if attacked.attacks_down:
        rows, columns, shares = columns, rows, shares.T
    return HeatChart(rows[:MOST_ROWS], columns, tuple(map(tuple, shares[:MOST_ROWS].tolist())))


def _curves(grid: Grid, attacked: Siege | None) -> tuple[str, list[Curve]]:
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
