"""The grid: cells in rows and columns by the settings that vary, seeds together.

``compare`` names the settings; the last is the columns. A varied setting that it leaves out joins
the rows, unless the others already decide it: only seeds are ever averaged over.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from simulations.report.blocks import Td
from simulations.report.cells import CellSummary, TierLoss
from simulations.report.run import RunSummary, rank
from simulations.report.text import key_text, value_text


@dataclass(frozen=True)
class Spread:
    """Median, least and most over seeds; a value that is not finite counts as infinite."""

    median: float
    least: float
    most: float

    def td(
        self, form: Callable[[float], str], *, heat: int | None = None, strong: bool = False
    ) -> Td:
        """Make a table value: the median, under it least and most where they differ as written."""
        least, most = form(self.least), form(self.most)
        under = f"{least} – {most}" if least != most else ""
        return Td(form(self.median), under, heat, strong)


def spread(values: Iterable[float | None]) -> Spread | None:
    """Spread the values that are not None; None when there are none."""
    known = [math.inf if math.isnan(v) else v for v in values if v is not None]
    return Spread(statistics.median(known), min(known), max(known)) if known else None


@dataclass(frozen=True)
class Group:
    """Cells that differ in nothing but the seed."""

    row: str
    column: str
    cells: tuple[CellSummary, ...]

    @property
    def label(self) -> str:
        """Row and column in one."""
        return " · ".join(part for part in (self.row, self.column) if part) or "all cells"

    def spread(self, value: Callable[[CellSummary], float | None]) -> Spread | None:
        """Spread a figure of each cell over the seeds."""
        return spread(map(value, self.cells))

    def td(
        self,
        value: Callable[[CellSummary], float | None],
        form: Callable[[float], str],
        *,
        strong: bool = False,
    ) -> Td:
        """Make a table value of a figure of each cell."""
        over_seeds = self.spread(value)
        return over_seeds.td(form, strong=strong) if over_seeds else Td("–")

    def losses(self, tier: str) -> list[TierLoss]:
        """The losses of a tier in the cells that have it."""
        return [cell.losses[tier] for cell in self.cells if tier in cell.losses]


@dataclass(frozen=True)
class Grid:
    """The groups in order, and what rows and columns are called."""

    row_title: str
    column_title: str
    groups: tuple[Group, ...]

    @property
    def rows(self) -> tuple[str, ...]:
        """Labels of the rows, in order."""
        return tuple(dict.fromkeys(group.row for group in self.groups))

    @property
    def columns(self) -> tuple[str, ...]:
        """Labels of the columns, in order; one empty label when there are no columns."""
        return tuple(dict.fromkeys(group.column for group in self.groups))

    @property
    def repeated(self) -> bool:
        """Whether a group has several seeds: then its figures are medians."""
        return any(len(group.cells) > 1 for group in self.groups)

    def at(self, row: str, column: str) -> Group | None:
        """The group in a place; None where no cell is finished yet."""
        return next((g for g in self.groups if (g.row, g.column) == (row, column)), None)

    @property
    def cells(self) -> list[CellSummary]:
        """The cells of all groups."""
        return [cell for group in self.groups for cell in group.cells]


def setting(cell: CellSummary, key: str) -> Any:
    """Look up a varied value, or a setting by its dotted path; None when there is none."""
    if key in cell.vary:
        return cell.vary[key]
    value: Any = cell.settings
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


def varied(cells: Sequence[CellSummary]) -> list[str]:
    """List the settings that differ between cells, cases first, without the seed."""
    keys = dict.fromkeys(key for cell in cells for key in cell.vary if key != "seed")
    several = [key for key in keys if len({_json(setting(cell, key)) for cell in cells}) > 1]
    return sorted(several, key=lambda key: key != "case")


def choose_keys(run: RunSummary) -> tuple[list[str], list[str]]:
    """Choose the settings of rows and of columns."""
    cells = run.cells
    several = varied(cells)
    asked = [k for k in run.experiment.compare if len({_json(setting(c, k)) for c in cells}) > 1]
    keys = list(asked)
    # Left to itself, an attack stands in the columns: strategies are compared under attacks.
    for key in sorted(several, key=lambda key: key.split(".")[0] == "attack"):
        if key not in keys and not _decided(cells, keys, key):
            keys.insert(len(keys) - 1 if asked and len(keys) > 1 else len(keys), key)
    return (keys[:-1], keys[-1:]) if len(keys) > 1 else (keys, [])


def _decided(cells: Sequence[CellSummary], by: Sequence[str], key: str) -> bool:
    seen: dict[tuple[str, ...], str] = {}
    for cell in cells:
        known = tuple(_json(setting(cell, other)) for other in by)
        if seen.setdefault(known, _json(setting(cell, key))) != _json(setting(cell, key)):
            return False
    return True


def arrange(run: RunSummary, rows: Sequence[str], columns: Sequence[str]) -> Grid:
    """Put every cell in its place; rows and columns keep the order of the experiment's file."""
    names = [*rows, *columns]
    places: dict[tuple[str, str], list[CellSummary]] = {}
    ranks: dict[tuple[str, str], tuple[Any, ...]] = {}
    for cell in run.cells:
        place = label(cell, rows, names), label(cell, columns, names)
        ranks[place] = tuple(rank(run.order, key, setting(cell, key)) for key in names)
        places.setdefault(place, []).append(cell)
    in_order = sorted(places, key=lambda place: ranks[place])
    return Grid(
        ", ".join(key_text(key, names) for key in rows),
        ", ".join(key_text(key, names) for key in columns),
        tuple(Group(*place, tuple(places[place])) for place in in_order),
    )


def label(cell: CellSummary, keys: Sequence[str], among: Sequence[str]) -> str:
    """Write a cell's values of some settings; a bare number carries the name of its setting."""
    parts = []
    for key in keys:
        value = setting(cell, key)
        is_words = isinstance(value, list) and all(isinstance(item, str) for item in value)
        bare = isinstance(value, bool | int | float | list) and not is_words
        parts.append(f"{key_text(key, among)} {value_text(value)}" if bare else value_text(value))
    return ", ".join(parts)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
