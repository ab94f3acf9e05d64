"""Bytes, messages, times and memory; and how they grow with the number of devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulations.report.blocks import Block, Panel, Panels, Section, Table, Td, folded, plain
from simulations.report.cells import Cell
from simulations.report.chart import Axis, Line, legend, line_chart
from simulations.report.grid import Grid, Group, spread
from simulations.report.text import counted, duration, factor, size, whole


@dataclass(frozen=True)
class Cost:
    """One column: what it is called, where it is in a cell, and how it is written."""

    title: str
    of: Callable[[Cell], float | None]
    form: Callable[[float | None], str]


COSTS = (
    Cost("bytes up", lambda cell: cell.done.up_bytes, size),
    Cost("bytes down", lambda cell: cell.done.down_bytes, size),
    Cost("messages", lambda cell: cell.messages, whole),
    Cost("simulated time", lambda cell: cell.done.virtual_s, duration),
    Cost("wall time", lambda cell: cell.done.wall_s, duration),
    Cost("CPU time", lambda cell: cell.done.cpu_s, duration),
    Cost("peak memory", lambda cell: cell.done.peak_bytes, size),
    Cost("events", lambda cell: cell.done.events, whole),
    Cost("rounds", lambda cell: cell.done.rounds, whole),
)
GROWING = ("wall time", "CPU time", "peak memory", "messages", "events")


@dataclass(frozen=True)
class Scale:
    """Cells of one number of devices, all else alike: the median of every cost."""

    devices: int
    medians: dict[str, float]


def scales(cells: Sequence[Cell]) -> list[Scale]:
    """By number of devices, fewest first."""
    found = []
    for devices in sorted({cell.done.devices for cell in cells}):
        mine = [cell for cell in cells if cell.done.devices == devices]
        medians = {c.title: of.median for c in COSTS if (of := spread(map(c.of, mine))) is not None}
        found.append(Scale(devices, medians))
    return found


def is_about_scale(grid: Grid) -> bool:
    """Whether groups differ in their number of devices, each group by itself having one."""
    by_group = [{cell.done.devices for cell in group.cells} for group in grid.groups]
    return all(len(of) == 1 for of in by_group) and len(set.union(*by_group, set())) > 1


def costs(grid: Grid) -> Section | None:
    """The section; None without cells."""
    if not grid.groups:
        return None
    cells = [cell for group in grid.groups for cell in group.cells]
    blocks: list[Block] = []
    if is_about_scale(grid):
        blocks += _growth(scales(cells))
    blocks.append(folded(_by_group(grid)))
    walls = sum(cell.done.wall_s for cell in cells)
    text = (
        "Simulated time is the network’s, wall and CPU time this computer’s: "
        f"{duration(walls)} for {counted(len(cells), 'finished cell')}."
    )
    if grid.repeated:
        text += " Median over seeds."
    return Section("costs", "Bytes, time and memory", text, tuple(blocks))


def _by_group(grid: Grid) -> Table:
    shown = [
        cost for cost in COSTS if any(_median(group, cost) is not None for group in grid.groups)
    ]
    rows = []
    for group in grid.groups:
        rows.append((group.label, plain([cost.form(_median(group, cost)) for cost in shown])))
    title = ", ".join(part for part in (grid.row_title, grid.column_title) if part) or "cells"
    return Table((title, *(cost.title for cost in shown)), tuple(rows))


def _median(group: Group, cost: Cost) -> float | None:
    found = group.spread(cost.of)
    return found.median if found else None


def _growth(found: Sequence[Scale]) -> list[Block]:
    """Each cost by number of devices, with how many times the row above it is."""
    shown = [cost for cost in COSTS if all(cost.title in of.medians for of in found)]
    rows = []
    for number, of in enumerate(found):
        before = found[number - 1] if number else None
        cells = []
        for cost in shown:
            value = of.medians[cost.title]
            old = before.medians[cost.title] if before else 0.0
            cells.append(Td(cost.form(value), factor(value / old) if old > 0 else ""))
        times = f" ({factor(of.devices / before.devices)})" if before else ""
        rows.append((f"{of.devices:,}{times}", tuple(cells)))
    head = ("devices", *(cost.title for cost in shown))
    table = Table(head, tuple(rows), "By number of devices; below, how many times the row above")
    return [table, _growth_chart(found)]


def _growth_chart(found: Sequence[Scale]) -> Panels:
    first = found[0]
    lines = [
        Line("in proportion", tuple((of.devices, of.devices / first.devices) for of in found), 6)
    ]
    for name in GROWING:
        if all(of.medians.get(name, 0.0) > 0 for of in found):
            points = tuple((of.devices, of.medians[name] / first.medians[name]) for of in found)
            lines.append(Line(name, points, len(lines) - 1))
    x = Axis("devices", lambda value: f"{value:,.0f}", log=True)
    chart = line_chart(lines, x, Axis("times the smallest", lambda value: f"×{value:g}", log=True))
    names = legend([(line.label, line.style) for line in lines])
    return Panels((Panel("Growth with the number of devices", chart),), names)
