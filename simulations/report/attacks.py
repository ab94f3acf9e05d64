"""The share of the attack-free loss reduction that is left, by strategy and attack.

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
from simulations.report.cells import CellSummary
from simulations.report.grid import Grid, Spread, arrange, setting, spread, varied
from simulations.report.run import RunSummary
from simulations.report.text import figure, percent

NONE = "none"


def is_attacked(cell: CellSummary) -> bool:
    """Whether the cell has an attack, and attackers."""
    name = setting(cell, "attack.name") or NONE
    return name != NONE and setting(cell, "attack.fraction") != 0


def gains_without(run: RunSummary) -> dict[str, float]:
    """Look up the gain of each attacked cell's attack-free run, by the attacked cell's id."""
    free: dict[str, list[float]] = defaultdict(list)
    for cell in run.cells:
        if not is_attacked(cell) and cell.gain is not None:
            free[_apart_from_attack(cell)].append(cell.gain)
    attacked = [(cell.id, _apart_from_attack(cell)) for cell in run.cells if is_attacked(cell)]
    return {id_: statistics.median(free[key]) for id_, key in attacked if key in free}


def retained(run: RunSummary) -> dict[str, float | None]:
    """Compute for every attacked cell the share that it keeps, by the cell's id.

    Minus infinity where a loss is not finite; None without an attack-free run that learned
    something.
    """
    without = gains_without(run)
    attacked = [cell for cell in run.cells if is_attacked(cell)]
    return {cell.id: _share(cell, without.get(cell.id, 0.0)) for cell in attacked}


def _share(cell: CellSummary, whole: float) -> float | None:
    if cell.gain is None or whole <= 0:
        return None
    # However it ran away, a network without a finite loss keeps nothing.
    return cell.gain / whole if math.isfinite(cell.gain) else -math.inf


def _apart_from_attack(cell: CellSummary) -> str:
    rest = {key: value for key, value in cell.settings.items() if key != "attack"}
    return json.dumps([rest, cell.vary.get("seed")], sort_keys=True)


@dataclass(frozen=True)
class Siege:
    """Shares by row and attack, and what each row gains without an attack.

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
        """Rows that are attacked, in order."""
        return tuple(r for r in self.grid.rows if any(row == r for row, _ in self.shares))

    def worst(self, row: str) -> tuple[float, str]:
        """The least median share of a row, and the attack that leaves it."""
        return min((self.shares[row, a].median, a) for a in self.attacks if (row, a) in self.shares)


def siege(run: RunSummary) -> Siege | None:
    """Arrange the shares; None when no cell is attacked, or none has an attack-free run."""
    shares_by_cell, gains = retained(run), gains_without(run)
    several = varied(run.cells)
    by_attack = [key for key in several if key.split(".")[0] == "attack"]
    # Attacks are the columns; how many attackers there are, and where, is a matter of rows.
    column = "attack.name"
    if by_attack and column not in by_attack:
        column = by_attack[0]
    grid = arrange(run, [key for key in several if key != column], [column])
    shares: dict[tuple[str, str], Spread] = {}
    without: dict[str, list[float]] = defaultdict(list)
    for group in grid.groups:
        share = group.spread(lambda cell: shares_by_cell.get(cell.id))
        if share is not None:
            shares[group.row, group.column] = share
            without[group.row] += [gains[cell.id] for cell in group.cells if cell.id in gains]
    if not shares:
        return None
    spreads = {row: over for row, values in without.items() if (over := spread(values))}
    return Siege(grid, shares, spreads, run.experiment.compare[:1] == (column,))


def attacks(attacked: Siege) -> Section:
    """Tabulate the shares, coloured by how much is left."""
    lines = [_line(attacked, row) for row in attacked.rows]
    names = [row or "all cells" for row in attacked.rows]
    # The worst stands first: on a phone it is what is seen without scrolling.
    titles = ["worst", *attacked.attacks, "gain without attack"]
    if attacked.attacks_down:
        head = ("attack", *names)
        rows = list(zip(titles, zip(*lines, strict=True), strict=True))
    else:
        head = (attacked.grid.row_title or "cells", *titles)
        rows = list(zip(names, lines, strict=True))
    text = (
        "Share of the attack-free run’s loss reduction that is left under each attack: "
        f"{percent(1)} is unharmed, {percent(0)} has learned nothing, less is worse than the base. "
        "The worst attack is underlined."
    )
    if attacked.grid.repeated:
        text += " Median over seeds, below it from least to most."
    return Section("attacks", "Under attack", text, (Table(head, tuple(rows)),))


def _line(attacked: Siege, row: str) -> tuple[Td, ...]:
    """The worst share, that under each attack, and the gain without one."""
    worst = attacked.worst(row)
    values = [Td(percent(worst[0]), heat=heat(worst[0]))]
    for attack in attacked.attacks:
        share = attacked.shares.get((row, attack))
        if share is None:
            values.append(Td("–"))
        else:
            strong = (share.median, attack) == worst
            values.append(share.td(percent, heat=heat(share.median), strong=strong))
    without = attacked.without.get(row)
    return (*values, without.td(figure) if without else Td("–"))
