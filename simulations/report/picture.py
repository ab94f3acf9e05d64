"""One figure of the main comparison, for documents that cannot hold a page."""

from __future__ import annotations

import importlib.util
import io
import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulations.report.attacks import Siege, siege
from simulations.report.cells import Points
from simulations.report.compare import loss
from simulations.report.costs import GROWING, is_about_scale, scales
from simulations.report.forgotten import forgotten
from simulations.report.grid import Grid
from simulations.report.page import Findings
from simulations.report.reach import merged, tiers_of
from simulations.report.text import counted, percent, time_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#444444")
DASHES = ("-", "--", ":", "-.", (0, (7, 2, 1, 2, 1, 2)))
MOST_LINES = 8
"""Of more lines no picture can be made that is read without its page."""
MOST_ROWS = 40
LONGEST = 44
SERVED = "what devices are served"


def draw(found: Findings) -> bytes | None:
    """The PNG: the main comparison, and beside it the loss over simulated time of a few cases.

    None without matplotlib.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    grid, under = found.grid, siege(found.run)
    rows, columns = len(grid.groups), 1
    if under is not None:
        rows, columns = len(under.rows), len(under.attacks)
        if under.attacks_down:
            rows, columns = columns, rows
    curves = _curves_of(grid, under)
    beside = 5.5 if curves else 0.0
    wide = max(5.5, 3 + 0.75 * columns)
    height = max(4.2, 1.6 + 0.3 * min(rows, MOST_ROWS))
    figure = Figure(figsize=(max(wide + beside, 8.0), height), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    if curves:
        left, right = figure.subplots(1, 2, width_ratios=(wide, beside))
        _curves(right, curves)
    else:
        left = figure.subplots()
    if not grid.groups:
        left.set_axis_off()
        left.text(0, 0.5, "No cell is finished yet.", size=11)
    elif under is not None:
        _siege(left, under)
    elif is_about_scale(grid):
        _growth(left, grid)
    else:
        _ends(left, grid)
    unfinished = found.run.expected - len(found.run.cells)
    title = _literal(found.run.experiment.name)
    if unfinished:
        title += f" ({counted(unfinished, 'cell')} missing)"
    figure.suptitle(title, x=0.01, ha="left", size=12, weight="bold")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A name in letters that the font lacks shows boxes; that is no reason to lose the report.
        warnings.simplefilter("ignore", UserWarning)
        # Without the version of matplotlib in it, the same figures give the same bytes.
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _literal(text: str, most: int = LONGEST) -> str:
    """Cut to fit; what stands between dollars is a name and no mathematics."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return short.replace("$", r"\$")


def _siege(axis: Axes, under: Siege) -> None:
    import numpy as np

    shares = np.full((len(under.rows), len(under.attacks)), np.nan)
    for (row, attack), share in under.shares.items():
        shares[under.rows.index(row), under.attacks.index(attack)] = share.median
    rows, columns = under.rows, under.attacks
    if under.attacks_down:
        rows, columns, shares = columns, rows, shares.T
    rows, shares = rows[:MOST_ROWS], shares[:MOST_ROWS]
    axis.imshow(np.clip(shares, 0, 1), cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (i, j), kept in np.ndenumerate(shares):
        colour = "black" if kept > 0.55 else "white"
        if not np.isnan(kept):
            text = percent(float(kept))
            axis.text(j, i, text, ha="center", va="center", size=8, color=colour)
    axis.set_xticks(
        range(len(columns)), [_literal(c, 24) for c in columns], rotation=30, ha="right"
    )
    axis.set_yticks(range(len(rows)), [_literal(row or "all cells") for row in rows])
    axis.tick_params(length=0, labelsize=8)
    axis.set_title("kept of the attack-free loss reduction", size=9, loc="left")


def _growth(axis: Axes, grid: Grid) -> None:
    found = scales([cell for group in grid.groups for cell in group.cells])
    devices = [of.devices for of in found]
    axis.loglog(
        devices, [n / devices[0] for n in devices], color="0.6", ls=":", label="in proportion"
    )
    for number, name in enumerate(GROWING):
        values = [of.medians.get(name, 0.0) for of in found]
        if min(values) > 0:
            times = [value / values[0] for value in values]
            axis.plot(devices, times, "o", ls=DASHES[number], color=COLOURS[number], label=name)
    axis.set_xlabel("devices", size=8)
    axis.set_title("times the smallest", size=9, loc="left")
    axis.legend(fontsize=8, frameon=False)
    _calm(axis)


def _ends(axis: Axes, grid: Grid) -> None:
    """What is forgotten where that was measured, else the final loss: a dot a group."""
    values = [(g.label, g.spread(loss)) for g in grid.groups]
    title = "final held-out loss"
    if kept := forgotten(grid):
        values, title = list(kept), "forgetting"
    values = values[:MOST_ROWS]
    for place, (_, of) in enumerate(values):
        if of is not None and math.isfinite(of.most):
            axis.plot([of.least, of.most], [place, place], color=COLOURS[0], lw=1.5)
            axis.plot(of.median, place, "o", color=COLOURS[0])
        else:
            axis.text(0.02, place, "diverged", transform=axis.get_yaxis_transform(), size=8)
    axis.set_yticks(range(len(values)), [_literal(label) for label, _ in values], size=8)
    axis.set_ylim(len(values) - 0.5, -0.5)
    axis.set_title(title, size=9, loc="left")
    _calm(axis)


@dataclass(frozen=True)
class _Curves:
    title: str
    lines: tuple[tuple[str, Points], ...]
    base: float | None


def _curves_of(grid: Grid, under: Siege | None) -> _Curves | None:
    """The lines to draw; None where there are none, or too many."""
    tiers = tiers_of(grid)
    if not tiers:
        return None
    title = f"held-out loss, {SERVED if tiers[0] == 'device' else tiers[0]}"
    chosen = [(g.label, tiers[0], g) for g in grid.groups]
    if under is not None:
        # All attacks would be too many lines: each row under the one that harms it most.
        worst = [(row, under.worst(row)[1]) for row in under.rows]
        groups = [g for row, attack in worst if (g := under.grid.at(row, attack)) is not None]
        chosen = [(g.label, tiers[0], g) for g in groups]
        title += ", under the worst attack"
    elif len(grid.groups) == 1:
        chosen = [(tier, tier, grid.groups[0]) for tier in tiers]
        title = "held-out loss, by tier"
    if len(chosen) > MOST_LINES:
        return None
    lines, bases = [], []
    for label, tier, group in chosen:
        of = [cell.losses[tier] for cell in group.cells if tier in cell.losses]
        bases += [one.base for one in of if one.base is not None]
        lines.append((label, merged([one.by_time for one in of])[0]))
    return _Curves(title, tuple(lines), sum(bases) / len(bases) if bases else None)


def _curves(axis: Axes, of: _Curves) -> None:
    unit, scale = time_unit(max((line[-1][0] for _, line in of.lines if line), default=1.0))
    for number, (label, points) in enumerate(of.lines):
        xs, ys = [x / scale for x, _ in points], [y for _, y in points]
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        axis.plot(xs, ys, lw=1.5, color=colour, ls=dash, label=_literal(label))
    there = [y for _, points in of.lines for _, y in points if math.isfinite(y)]
    if of.base is not None and there:
        axis.axhline(of.base, color="0.6", lw=1, ls=":")
        # What runs away leaves at the top, with room above the base for the legend.
        room = max(of.base - min(there), 0.01 * abs(of.base))
        axis.set_ylim(min(there) - 0.07 * room, of.base + 0.6 * room)
    axis.set_xlabel(f"simulated time, {unit}", size=8)
    axis.set_title(of.title, size=9, loc="left")
    axis.legend(fontsize=7, frameon=False, loc="upper right")
    _calm(axis)


def _calm(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="0.92")
    axis.set_axisbelow(True)
    axis.tick_params(labelsize=8)
