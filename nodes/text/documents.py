"""Prepare a document for storage: its part, its id, its place in the sample.

All three are hashes keyed with the node's secret, so nobody else can compute them. Two copies that
differ in white space only are one document.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from aggregation.replay import Cell, Item, canonical_text, keyed_hash, part_of

_ID_BYTES = 16
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r" ?\n(?: ?\n)+ ?")


class Part(StrEnum):
    """The purpose of a document; it serves no other, ever."""

    TRAINING = "training"
    PROBES = "probes"
    DESCRIPTORS = "descriptors"


SHARES: Mapping[str, float] = {Part.TRAINING: 0.75, Part.PROBES: 0.2, Part.DESCRIPTORS: 0.05}
"""Of all documents. Not a setting: after a change, what was a probe could become training text."""


@dataclass(frozen=True)
class Budgets:
    """Limits in bytes. ``child_share``: of each part, the most that one child may hold.

    ``fresh`` bounds the text that waits to be learned from; 0 where nobody trains. ``document``
    bounds one document: of a longer one only the beginning is stored.
    """

    training: int = 8 << 20
    probes: int = 2 << 20
    descriptors: int = 1 << 18
    fresh: int = 64 << 20
    document: int = 16 << 10
    child_share: float = 0.25

    def of_part(self, part: Part) -> int:
        """Return the budget of one part."""
        return {
            Part.TRAINING: self.training,
            Part.PROBES: self.probes,
            Part.DESCRIPTORS: self.descriptors,
        }[part]


@dataclass(frozen=True)
class Document:
    """A document with its part. ``fresh``: it has not been learned from."""

    id: bytes
    part: Part
    item: Item
    fresh: bool
    text: bytes


class Divider:
    """Divides documents with one key."""

    def __init__(self, key: bytes, budgets: Budgets) -> None:
        self._key, self._budgets = key, budgets
        self._priority_key = keyed_hash("priorities", key)

    def document(self, cell: Cell, text: str, part: Part | None = None) -> Document | None:
        """Make the document ``text`` of ``cell``; None when the text is empty.

        ``part`` is for text that an operator set apart.
        """
        canonical = canonical_text(text)
        if not canonical:
            return None
        digest = keyed_hash(canonical, self._key)
        part = part or Part(part_of(digest, SHARES))
        beginning = _tidy(text).encode()[: self._budgets.document]
        encoded = beginning.decode(errors="ignore").encode()  # no character cut in two
        item = Item(cell, keyed_hash(canonical, self._priority_key), len(encoded))
        fresh = part is Part.TRAINING and cell.child is None and self._budgets.fresh > 0
        return Document(digest[:_ID_BYTES], part, item, fresh, encoded)


def _tidy(text: str) -> str:
    """Normalise a text for storage: NFC, lines kept, runs of spaces and of blank lines made one."""
    spaced = _SPACES.sub(" ", unicodedata.normalize("NFC", text).strip())
    return _BLANK_LINES.sub("\n\n", spaced)
