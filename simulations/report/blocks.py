"""What a page is made of: sections of tables, panels of charts, prose and folds.

The template knows these shapes and nothing of experiments; sections know experiments and no HTML.
Text is escaped where it meets HTML: by the template, and by ``chart`` and ``tree`` for their SVG.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from markupsafe import Markup

MOST_OPEN = 20
"""A table with more rows than this is folded."""
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
class Panel:
    """One chart under its title."""

    title: str
    svg: Markup


@dataclass(frozen=True)
class Panels:
    """Charts side by side that share a legend; ``wide`` ones stand at most two in a row."""

    panels: tuple[Panel, ...]
    legend: Markup | None = None
    caption: str = ""
    wide: bool = False
    shape: ClassVar[str] = "panels"


@dataclass(frozen=True)
class Beside:
    """Small tables, as many in a row as fit."""

    tables: tuple[Table, ...]
    shape: ClassVar[str] = "beside"


@dataclass(frozen=True)
class Prose:
    """A paragraph."""

    text: str
    shape: ClassVar[str] = "prose"


@dataclass(frozen=True)
class Code:
    """Text as it was written."""

    text: str
    shape: ClassVar[str] = "code"


@dataclass(frozen=True)
class Fold:
    """What only some readers want, behind one line."""

    summary: str
    blocks: tuple[Block, ...]
    shape: ClassVar[str] = "fold"


Block = Table | Beside | Panels | Prose | Code | Fold


@dataclass(frozen=True)
class Section:
    """A heading, a sentence on how to read what follows, and what follows."""

    id: str
    title: str
    text: str
    blocks: tuple[Block, ...]


def folded(table: Table) -> Table | Fold:
    """A long table behind one line."""
    if len(table.rows) <= MOST_OPEN:
        return table
    return Fold(table.caption or f"A table of {len(table.rows)} rows", (table,))


def plain(values: Sequence[str]) -> tuple[Td, ...]:
    """Values without marks."""
    return tuple(Td(value) for value in values)


def heat(share: float | None) -> int | None:
    """A share of 0 (worst) to 1 (best) as a step of the scale; what lies outside is at its end."""
    if share is None:
        return None
    if not share > 0:
        return 0
    return min(HEATS - 1, int(share * HEATS))
