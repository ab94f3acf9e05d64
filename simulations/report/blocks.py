"""The parts of a page: sections of tables, charts and folds.

The template knows these shapes and nothing of experiments; sections know experiments and no HTML.
Texts are escaped where they meet HTML: by the template, and by ``charts`` for their SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from simulations.report.charts import Chart

MOST_OPEN = 20
"""A table of more rows is folded."""
HEATS = 9
"""Steps of a heat scale, 0 the worst."""


@dataclass(frozen=True)
class Td:
    """One value of a table: ``heat`` colours it, ``strong`` marks it, ``under`` stands below it."""

    text: str
    under: str = ""
    heat: int | None = None
    strong: bool = False
    note: str = ""
    words: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of a label and values; ``head`` names every column, the label's first."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Td, ...]], ...]
    caption: str = ""
    over: str = ""
    shape: ClassVar[str] = "table"


@dataclass(frozen=True)
class Panels:
    """Titled charts side by side with one legend; ``wide`` ones stand at most two in a row."""

    panels: tuple[tuple[str, Chart], ...]
    legend: Chart | None = None
    caption: str = ""
    wide: bool = False
    shape: ClassVar[str] = "panels"


@dataclass(frozen=True)
class Beside:
    """Small tables, as many in a row as fit."""

    tables: tuple[Table, ...]
    shape: ClassVar[str] = "beside"


@dataclass(frozen=True)
class Text:
    """A paragraph; ``code``: as it was written, line by line."""

    text: str
    code: bool = False
    shape: ClassVar[str] = "text"


@dataclass(frozen=True)
class Fold:
    """Blocks that only some readers want, behind one line."""

    summary: str
    blocks: tuple[Block, ...]
    shape: ClassVar[str] = "fold"


Block = Table | Beside | Panels | Text | Fold


@dataclass(frozen=True)
class Section:
    """A heading, a sentence on how to read the blocks, and the blocks."""

    id: str
    title: str
    text: str
    blocks: tuple[Block, ...]


def folded(table: Table) -> Table | Fold:
    """Fold a table that is long."""
    if len(table.rows) <= MOST_OPEN:
        return table
    return Fold(table.caption or f"A table of {len(table.rows)} rows", (table,))


def plain(values: Sequence[str]) -> tuple[Td, ...]:
    """Make table values without marks."""
    return tuple(Td(value) for value in values)


def words(values: Sequence[str]) -> tuple[Td, ...]:
    """Make table values that are texts."""
    return tuple(Td(value, words=True) for value in values)


def heat(share: float | None) -> int | None:
    """Place a share from 0 (worst) to 1 (best) on the heat scale; one outside is at its end."""
    if share is None:
        return None
    return min(HEATS - 1, int(share * HEATS)) if share > 0 else 0
