"""The comparison: the final loss of every group, arranged as the experiment asks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from simulations.report.blocks import Block, Fold, Panels, Section, Table, Td, plain, words
from simulations.report.cells import CellSummary
from simulations.report.charts import MOST_LINES, Axis, Chart, Dot, dot_chart, legend
from simulations.report.costs import scales
from simulations.report.grid import Grid, Group
from simulations.report.losses import tick
from simulations.report.run import RunSummary
from simulations.report.text import duration, figure, percent, size, value_text

MOST_CELLS = 400
KNOWN = ("loss", "base", "gain")


def loss(cell: CellSummary) -> float | None:
    """The final held-out loss."""
    return cell.final("loss")


def bytes_moved(cell: CellSummary) -> float:
    """Bytes up and down together."""
    return float(cell.done.up_bytes + cell.done.down_bytes)


def best(grid: Grid) -> tuple[Group, Group] | None:
    """Find the groups of the lowest and of the highest median final loss; None without losses."""
    known = [(s.median, n) for n, group in enumerate(grid.groups) if (s := group.spread(loss))]
    return (grid.groups[min(known)[1]], grid.groups[max(known)[1]]) if known else None


def comparison(grid: Grid, run: RunSummary, shares: Mapping[str, float | None]) -> Section:
    """Tabulate the final loss by rows and columns, or every figure of a group in one row.

    Args:
        shares: what attacked cells keep under attack, by the cell's id.
    """
    ends = best(grid)
    first = ends[0] if ends and len(grid.groups) > 1 else None
    if len(grid.columns) > 1:
        blocks: list[Block] = [_matrix(grid, loss, figure, first)]
        names = _others(grid.cells)
        if any(cell.gain is not None for cell in grid.cells):
            names.insert(0, "gain")
        tables = [
            _matrix(grid, _final(name), figure, None, name.replace("_", " ")) for name in names
        ]
        if tables:
            captions = ", ".join(table.caption for table in tables)
            blocks.append(Fold(f"The same for other figures: {captions}", tuple(tables)))
    else:
        blocks = [_list(grid, first)]
    # More devices move more bytes: there the picture would compare sizes, not settings.
    if not scales(grid) and (chart := _against_bytes(grid)) is not None:
        blocks.append(Panels((("Loss against bytes", chart),), legend(chart.key, "")))
    blocks.append(_every_cell(run, shares))
    text = "Final held-out loss: lower is better."
    if grid.repeated:
        text += " Median over seeds, below it from least to most."
    if first:
        text += " The best is bold and underlined."
    title = "Comparison" if len(grid.groups) > 1 else "Result"
    return Section("comparison", title, text, tuple(blocks))


def _matrix(
    grid: Grid,
    value: Callable[[CellSummary], float | None],
    form: Callable[[float], str],
    first: Group | None,
    caption: str = "",
) -> Table:
    rows = []
    for row in grid.rows:
        groups = [grid.at(row, column) for column in grid.columns]
        cells = [g.td(value, form, strong=g is first) if g else Td("–") for g in groups]
        rows.append((row or "all cells", tuple(cells)))
    head = (grid.row_title or "cells", *grid.columns)
    return Table(head, tuple(rows), caption, over=grid.column_title)


def _list(grid: Grid, first: Group | None) -> Table:
    names = _others(grid.cells)
    rows = []
    for group in grid.groups:
        cells = [group.td(loss, figure, strong=group is first)]
        cells += [group.td(_final(name), figure) for name in ("gain", *names)]
        cells.append(group.td(bytes_moved, size))
        cells.append(group.td(lambda cell: cell.done.virtual_s, duration))
        rows.append((group.label, (*cells, Td(str(len(group.cells))))))
    figures = [name.replace("_", " ") for name in names]
    head = (grid.row_title or "cells", "loss", "gain", *figures)
    return Table((*head, "bytes moved", "simulated time", "seeds"), tuple(rows))


def _final(name: str) -> Callable[[CellSummary], float | None]:
    return lambda cell: cell.final(name)


def _others(cells: Sequence[CellSummary], known: Sequence[str] = KNOWN) -> list[str]:
    """List final figures besides the known, in the order of the records."""
    names = dict.fromkeys(n for c in cells for n in c.done.final if c.final(n) is not None)
    return [name for name in names if name not in known]


def _against_bytes(grid: Grid) -> Chart | None:
    """Draw quality against bytes, where groups move different amounts."""
    dots: list[Dot] = []
    for group in grid.groups[:MOST_LINES]:
        moved, end = group.spread(bytes_moved), group.spread(loss)
        if moved and end and moved.least > 0 and math.isfinite(end.most):
            across = (moved.median, moved.least, moved.most)
            dots.append(Dot(group.label, across, (end.median, end.least, end.most), len(dots)))
    least, most = (choose((d.x[0] for d in dots), default=0.0) for choose in (min, max))
    if len(dots) < 2 or most < 1.3 * least:
        return None
    x = Axis("bytes moved", size, log=most > 8 * least)
    return dot_chart(dots, x, Axis("final loss", tick))


def _every_cell(run: RunSummary, shares: Mapping[str, float | None]) -> Fold:
    """Tabulate every cell, one a row: what results.csv holds, for reading."""
    cells = run.cells[:MOST_CELLS]
    keys = list(dict.fromkeys(key for cell in cells for key in cell.vary))
    names = _others(cells, known=())
    rows = []
    for cell in cells:
        done = cell.done
        varied = words([value_text(cell.vary[key]) if key in cell.vary else "–" for key in keys])
        figures = [figure(cell.final(name)) for name in names]
        if shares:
            figures.append(percent(shares.get(cell.id)))
        figures += [size(bytes_moved(cell)), duration(done.virtual_s), duration(done.wall_s)]
        rows.append((cell.id, (*varied, *plain(figures))))
    share = ("kept under attack",) if shares else ()
    head = ("cell", *keys, *names, *share, "bytes moved", "simulated time", "wall time")
    left = len(run.cells) - len(cells)
    caption = f"{left:,} more are in results.csv only" if left else ""
    return Fold("Every cell", (Table(head, tuple(rows), caption),))
