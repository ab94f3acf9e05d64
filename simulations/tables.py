"""Tables for a terminal: text to the left, numbers to the right."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    left: Sequence[str] = (),
    plain: bool = False,
) -> Table:
    """A table of rows, one cell a column.

    Args:
        left: columns of text beside the first; all others are aligned to the right.
        plain: without lines between cells.
    """
    style = None if plain else box.SIMPLE_HEAD
    made = Table(title=title or None, title_justify="left", box=style, header_style="bold")
    for number, column in enumerate(columns):
        text = number == 0 or column in left
        made.add_column(column, justify="left" if text else "right")
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else str(cell) for cell in row))
    return made


def formatted(
    title: str,
    columns: Mapping[str, str],
    rows: Iterable[Mapping[str, Any]],
    left: Sequence[str] = (),
) -> Table:
    """A table of mappings: under each heading what its format, such as ``{loss:.3f}``, makes of a
    row; a dash where the value is None."""

    def cell(form: str, row: Mapping[str, Any]) -> str:
        try:
            return form.format_map(row)
        except TypeError:
            return "–"

    shown = ([cell(form, row) for form in columns.values()] for row in rows)
    return table(title, list(columns), shown, left=left)
