"""What is kept of the attack-free run's loss reduction, for each strategy under each attack.

The attack-free run of a cell is the one with the same settings and the same seed in all but the
section ``attack``.
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from simulations.report.blocks import Section, Table, Td, heat
from simulations.report.cells import Cell
from simulations.report.grid import Grid, Spread, arrange, setting, spread, varied
from simulations.report.run import Run
from simulations.report.text import figure, percent

NONE = "none"


def attack_of(cell: Cell) -> str:
    """The attack's name; ``none`` without one, or without attackers."""
    if setting(cell, "attack.fraction") == 0:
        return NONE
    return str(setting(cell, "attack.name") or NONE)


def gain_without(run: Run) -> dict[str, float]:
    """The gain of each attacked cell's attack-free run, by the cell's id; where there is one."""
    free: dict[str, list[float]] = defaultdict(list)
    for cell in run.cells:
        if attack_of(cell) == NONE and cell.gain is not None:
            free[_apart_from_attack(cell)].append(cell.gain)
    attacked = [cell for cell in run.cells if attack_of(cell) != NONE]
    known = [(cell.id, free[key]) for cell in attacked if (key := _apart_from_attack(cell)) in free]
    return {id_: statistics.median(gains) for id_, gains in known}


def retained(run: Run) -> dict[str, float | None]:
    """For every attacked cell the share it keeps, by the cell's id.

    A share that the cell's own records give stands. Minus infinity where a loss is not finite; None
    without an attack-free run that learned something.
    """
    without = gain_without(run)
    return {
        cell.id: _share(cell, without.get(cell.id, 0.0))
        for cell in run.cells
        if attack_of(cell) != NONE
    }


def _share(cell: Cell, whole: float) -> float | None:
    share = cell.final("retained")
    if share is None and cell.gain is not None and whole > 0:
        share = cell.gain / whole
    # However it ran away, a network without a finite loss keeps nothing.
    return share if share is None or math.isfinite(share) else -math.inf


def _apart_from_attack(cell: Cell) -> str:
    rest = {key: value for key, value in cell.settings.items() if key != "attack"}
    return json.dumps([rest, cell.vary.get("seed")], sort_keys=True)


@dataclass(frozen=True)
class Siege:
    """Shares of groups by row and attack, and what each row gains without an attack.

    ``attacks_down``: the experiment asks for attacks in the rows of its tables.
    """

    grid: Grid
    shares: Mapping[tuple[str, str], Spread]
    without: Mapping[str, Spread]
    attacks_down: bool

    @property
    def attacks(self) -> tuple[str, ...]:
        """Columns in order."""
        return tuple(c for c in self.grid.columns if any(col == c for _, col in self.shares))

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows in order: those that are attacked."""
        return tuple(r for r in self.grid.rows if any(row == r for row, _ in self.shares))

    def worst(self, row: str) -> tuple[float, str]:
        """The least median share of a row, and the attack that leaves it."""
        return min((self.shares[row, a].median, a) for a in self.attacks if (row, a) in self.shares)


def siege(run: Run) -> Siege | None:
    """None when no cell is attacked, or none has an attack-free run to compare with."""
    kept, gains = retained(run), gain_without(run)
    several = varied(run.cells)
    by = [key for key in several if key.split(".")[0] == "attack"]
    # Attacks are the columns; how many attackers there are, and where, is a matter of rows.
    columns = by[:1] if by and "attack.name" not in by else ["attack.name"]
    grid = arrange(run, [key for key in several if key not in columns], columns)
    shares: dict[tuple[str, str], Spread] = {}
    without: dict[str, list[float]] = defaultdict(list)
    for group in grid.groups:
        under = group.spread(lambda cell: kept.get(cell.id))
        if under is not None:
            shares[group.row, group.column] = under
            without[group.row] += [gains[cell.id] for cell in group.cells if cell.id in gains]
    if not shares:
        return None
    spreads = {row: found for row, of in without.items() if (found := spread(of)) is not None}
    down = run.experiment.compare[:1] == (columns[0],)
    return Siege(grid, shares, spreads, down)


def attacks(run: Run) -> Section | None:
    """The section: a heat-coloured table with its numbers."""
    found = siege(run)
    if found is None:
        return None
    lines = [_line(found, row) for row in found.rows]
    names = [row or "all cells" for row in found.rows]
    # The worst stands first: on a phone it is what is seen without scrolling.
    titles = ["worst", *found.attacks, "gain without attack"]
    if found.attacks_down:
        head = ("attack", *names)
        rows = list(zip(titles, zip(*lines, strict=True), strict=True))
    else:
        head = (found.grid.row_title or "cells", *titles)
        rows = list(zip(names, lines, strict=True))
    text = (
        "Share of the attack-free run’s loss reduction that is left under each attack: "
        f"{percent(1)} is unharmed, {percent(0)} has learned nothing, less is worse than the base. "
        "The worst attack is underlined."
    )
    if found.grid.repeated:
        text += " Median over seeds, below it from least to most."
    return Section("attacks", "Under attack", text, (Table(head, tuple(rows)),))


def _line(found: Siege, row: str) -> tuple[Td, ...]:
    """The worst share, that under each attack, and the gain without one."""
    worst = found.worst(row)
    cells = [Td(percent(worst[0]), heat=heat(worst[0]))]
    for attack in found.attacks:
        share = found.shares.get((row, attack))
        strong = share is not None and (share.median, attack) == worst
        heated = heat(share.median) if share else None
        cells.append(share.td(percent, heat=heated, strong=strong) if share else Td("–"))
    cells.append(found.without[row].td(figure) if row in found.without else Td("–"))
    return tuple(cells)
