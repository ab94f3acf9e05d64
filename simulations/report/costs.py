"""Bytes, messages, times and memory, and how they grow with the number of devices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from simulations.records import DoneRecord
from simulations.report.blocks import Block, Panels, Section, Table, Td, folded
from simulations.report.cells import CellSummary
from simulations.report.charts import Axis, Chart, Line, legend, line_chart
from simulations.report.grid import Grid, spread
from simulations.report.text import counted, duration, factor, size, whole

COSTS: dict[str, tuple[Callable[[DoneRecord], float], Callable[[float | None], str]]] = {
    "bytes up": (lambda done: done.up_bytes, size),
    "bytes down": (lambda done: done.down_bytes, size),
    "messages": (lambda done: done.messages, whole),
    "simulated time": (lambda done: done.virtual_s, duration),
    "wall time": (lambda done: done.wall_s, duration),
    "CPU time": (lambda done: done.cpu_s, duration),
    "peak memory": (lambda done: done.peak_bytes, size),
    "events": (lambda done: done.events, whole),
    "rounds": (lambda done: done.rounds, whole),
}
"""Each cost by its title: where it is in a cell's last record, and how it is written."""
Scales = dict[int, dict[str, float]]
"""The median of every cost by its title, by number of devices, fewest first."""
GROWING = ("wall time", "CPU time", "peak memory", "messages", "events")


def medians(cells: Sequence[CellSummary]) -> dict[str, float]:
    """The median of every cost."""
    spreads = {name: spread(cost(cell.done) for cell in cells) for name, (cost, _) in COSTS.items()}
    return {name: one.median for name, one in spreads.items() if one is not None}


def scales(grid: Grid) -> Scales:
    """Take the costs by number of devices; empty unless that is what groups differ in."""
    by_group = [{cell.done.devices for cell in group.cells} for group in grid.groups]
    counts = sorted(set[int]().union(*by_group))
    if len(counts) < 2 or any(len(devices) > 1 for devices in by_group):
        return {}
    return {n: medians([c for c in grid.cells if c.done.devices == n]) for n in counts}


def costs(grid: Grid) -> Section:
    """Tabulate the costs of every group; where devices differ in number, show the growth first."""
    growing = scales(grid)
    blocks: list[Block] = []
    if growing:
        chart = growth_chart(growing)
        panels = Panels((("Growth with the number of devices", chart),), legend(chart.key))
        blocks = [_growth_table(growing), panels]
    title = ", ".join(part for part in (grid.row_title, grid.column_title) if part) or "cells"
    rows = [(group.label, _row(medians(group.cells))) for group in grid.groups]
    blocks.append(folded(Table((title, *COSTS), tuple(rows))))
    walls = sum(cell.done.wall_s for cell in grid.cells)
    text = (
        "Simulated time is the network’s, wall and CPU time this computer’s: "
        f"{duration(walls)} for {counted(len(grid.cells), 'finished cell')}."
    )
    if grid.repeated:
        text += " Median over seeds."
    return Section("costs", "Bytes, time and memory", text, tuple(blocks))


def _row(now: dict[str, float], before: dict[str, float] | None = None) -> tuple[Td, ...]:
    """Write every cost, and under it how many times the one before it is."""
    values = []
    for name, (_, form) in COSTS.items():
        old = before[name] if before else 0.0
        values.append(Td(form(now[name]), factor(now[name] / old) if old > 0 else ""))
    return tuple(values)


def _growth_table(growing: Scales) -> Table:
    counts = list(growing)
    rows = [(f"{counts[0]:,}", _row(growing[counts[0]]))]
    for before, now in itertools.pairwise(counts):
        rows.append((f"{now:,} ({factor(now / before)})", _row(growing[now], growing[before])))
    caption = "By number of devices; below, how many times the row above"
    return Table(("devices", *COSTS), tuple(rows), caption)


def growth_chart(growing: Scales) -> Chart:
    """Draw every cost as a multiple of that of the fewest devices."""
    fewest = min(growing)
    lines = [Line("in proportion", tuple((n, n / fewest) for n in growing), 6)]
    for name in GROWING:
        if all(costs[name] > 0 for costs in growing.values()):
            times = [(n, costs[name] / growing[fewest][name]) for n, costs in growing.items()]
            lines.append(Line(name, tuple(times), len(lines) - 1))
    x = Axis("devices", lambda value: f"{value:,.0f}", log=True)
    y = Axis("times the smallest", lambda value: f"×{value:g}", log=True)
    return line_chart(lines, x, y)
