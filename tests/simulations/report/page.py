"""A report read back: its tables by section, its attributes, and the figures in the records."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from simulations.report import write_report

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Tables by section as rows of texts, every attribute, and whether tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.sections: list[str] = []
        self.open: list[str] = []
        self._text: list[str] | None = None
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.sections.append(dict(attrs)["id"] or "")
            self.tables[self.sections[-1]] = []
        elif tag == "table":
            self.tables[self.sections[-1]].append([])
        elif tag == "tr":
            self.tables[self.sections[-1]][-1].append([])
        elif tag in {"td", "th"}:
            self._text = []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in {"td", "th"} and self._text is not None:
            self.tables[self.sections[-1]][-1][-1].append("|".join(self._text).strip())
            self._text = None

    def handle_data(self, data: str) -> None:
        if self._text is not None and data.strip():
            self._text.append(data.strip())

    def row(self, section: str, label: str, table: int = 0) -> dict[str, str]:
        """A row as head to text; of a text and its range the text."""
        rows = self.tables[section][table]
        head = next(row for row in rows if row[0] and len(row) == max(map(len, rows)))
        values = next(row for row in rows if row[0] == label)
        return {name: value.split("|")[0] for name, value in zip(head, values, strict=True)}


def page_of(folder: Path) -> Page:
    return Page(write_report(folder).html.read_text("utf-8"))


def finals(folder: Path, **vary: Any) -> list[dict[str, float]]:
    """The final figures of cells with these values, straight from their lines."""
    found = []
    for path in sorted((folder / "cells").glob("*.jsonl")):
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if all(lines[0]["vary"][key] == value for key, value in vary.items()):
            found.append(lines[-1]["final"])
    return found
