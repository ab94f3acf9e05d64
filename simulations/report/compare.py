"""The comparison: the final loss of every group, arranged as the experiment asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from simulations.report.blocks import Block, Fold, Panel, Panels, Section, Table, Td, plain
from simulations.report.cells import Cell
from simulations.report.chart import MOST_LINES, Axis, Dot, dot_chart, legend
from simulations.report.costs import is_about_scale
from simulations.report.grid import Grid, Group
from simulations.report.losses import tick
from simulations.report.run import Run
from simulations.report.text import duration, figure, percent, size, value_text

MOST_CELLS = 400
KNOWN = ("loss", "base", "gain")
SHARES = {"retained"}


def loss(cell: Cell) -> float | None:
    """The final held-out loss."""
    return cell.final("loss")


def bytes_moved(cell: Cell) -> float:
    """Up and down together."""
    return float(cell.done.up_bytes + cell.done.down_bytes)


def best(grid: Grid) -> tuple[Group, Group] | None:
    """The groups of the lowest and of the highest median final loss; None without losses."""
    known = [(of.median, n) for n, g in enumerate(grid.groups) if (of := g.spread(loss))]
    if not known:
        return None
    return grid.groups[min(known)[1]], grid.groups[max(known)[1]]


def comparison(grid: Grid) -> Section:
    """Rows and columns of the final loss, or one row a group with every figure."""
    ends = best(grid)
    if len(grid.columns) > 1:
        blocks: list[Block] = [_matrix(grid, loss, figure, ends[0] if ends else None)]
        tables = []
        for name in _others(grid, gain=True):
            form = percent if name in SHARES else figure
            of_name = _matrix(grid, _named(name), form, None)
            tables.append(replace(of_name, caption=name.replace("_", " ")))
        if tables:
            names = ", ".join(table.caption for table in tables)
            blocks.append(Fold(f"The same for other figures: {names}", tuple(tables)))
    else:
        blocks = [_list(grid, ends[0] if ends else None)]
    # More devices move more bytes: there the picture would compare sizes, not settings.
    chart = None if is_about_scale(grid) else _against_bytes(grid)
    if chart is not None:
        blocks.append(chart)
    text = "Final held-out loss: lower is better."
    if grid.repeated:
        text += " Median over seeds, below it from least to most."
    if ends and len(grid.groups) > 1:
        text += " The best is bold and underlined."
    title = "Comparison" if len(grid.groups) > 1 else "Result"
    return Section("comparison", title, text, tuple(blocks))


def _matrix(
    grid: Grid,
    of: Callable[[Cell], float | None],
    form: Callable[[float], str],
    first: Group | None,
) -> Table:
    rows = []
    for row in grid.rows:
        cells = []
        for column in grid.columns:
            group = grid.at(row, column)
            found = group.spread(of) if group else None
            strong = group is not None and group is first
            cells.append(found.td(form, strong=strong) if found else Td("–"))
        rows.append((row or "all cells", tuple(cells)))
    return Table((grid.row_title or "cells", *grid.columns), tuple(rows), over=grid.column_title)


def _list(grid: Grid, first: Group | None) -> Table:
    names = _others(grid, gain=False)
    rows = []
    for group in grid.groups:
        cells = [_td(group, loss, figure, group is first and len(grid.groups) > 1)]
        cells.append(_td(group, _named("gain"), figure))
        cells += [_td(group, _named(n), percent if n in SHARES else figure) for n in names]
        cells.append(_td(group, bytes_moved, size))
        cells.append(_td(group, lambda cell: cell.done.virtual_s, duration))
        cells.append(Td(str(len(group.cells))))
        rows.append((group.label, tuple(cells)))
    head = (
        "loss",
        "gain",
        *(name.replace("_", " ") for name in names),
        "bytes moved",
        "simulated time",
        "seeds",
    )
    return Table((grid.row_title or "cells", *head), tuple(rows))


def _td(
    group: Group,
    of: Callable[[Cell], float | None],
    form: Callable[[float], str],
    strong: bool = False,
) -> Td:
    found = group.spread(of)
    return found.td(form, strong=strong) if found else Td("–")


def _named(name: str) -> Callable[[Cell], float | None]:
    return (lambda cell: cell.gain) if name == "gain" else (lambda cell: cell.final(name))


def _others(grid: Grid, *, gain: bool) -> list[str]:
    """Final figures besides the loss, in the order of the records."""
    cells = [cell for group in grid.groups for cell in group.cells]
    names = dict.fromkeys(n for c in cells for n in c.done.final if c.final(n) is not None)
    found = [name for name in names if name not in KNOWN]
    has_gain = any(cell.gain is not None for cell in cells)
    return ["gain", *found] if gain and has_gain else found


def _against_bytes(grid: Grid) -> Panels | None:
    """Quality against bytes, where groups move different amounts."""
    dots: list[Dot] = []
    for group in grid.groups[:MOST_LINES]:
        moved, end = group.spread(bytes_moved), group.spread(loss)
        if moved and end and moved.least > 0 and math.isfinite(end.most):
            across = (moved.median, moved.least, moved.most)
            dots.append(Dot(group.label, across, (end.median, end.least, end.most), len(dots)))
    if len(dots) < 2:
        return None
    most, least = max(dot.x[0] for dot in dots), min(dot.x[0] for dot in dots)
    if most < 1.3 * least:
        return None
    chart = dot_chart(
        dots, Axis("bytes moved", size, log=most > 8 * least), Axis("final loss", tick)
    )
    names = legend([(dot.label, dot.style) for dot in dots], dots=True)
    return Panels((Panel("Loss against bytes", chart),), names)


def every_cell(run: Run, kept: Mapping[str, float | None]) -> Fold:
    """One row a cell: what results.csv holds, for reading."""
    cells = run.cells[:MOST_CELLS]
    keys = list(dict.fromkeys(key for cell in cells for key in cell.vary))
    names = list(dict.fromkeys(n for c in cells for n in c.done.final if c.final(n) is not None))
    rows = []
    for cell in cells:
        varied = [
            Td(value_text(cell.vary[key]) if key in cell.vary else "–", words=True) for key in keys
        ]
        figures = [figure(cell.final(name)) for name in names]
        if kept:
            figures.append(percent(kept.get(cell.id)))
        done = cell.done
        figures += [size(bytes_moved(cell)), duration(done.virtual_s), duration(done.wall_s)]
        rows.append((cell.id, (*varied, *plain(figures))))
    share = ("kept under attack",) if kept else ()
    head = ("cell", *keys, *names, *share, "bytes moved", "simulated time", "wall time")
    left = len(run.cells) - len(cells)
    caption = f"{left:,} more are in results.csv only" if left else ""
    return Fold("Every cell", (Table(head, tuple(rows), caption),))
