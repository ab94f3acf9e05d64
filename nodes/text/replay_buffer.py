"""The replay buffer of a node on disk: its own documents, and what children chose to share.

Each document is divided once, by a hash keyed with the node's secret, into training text, probes
and descriptors. Each part is a sample within its own budget of bytes (``aggregation.replay``). A
call is on disk whole or not at all; the same documents give the same buffer in any order.

Training text is *fresh* until it was learned from, then old. Fresh text waits outside of the
sample, so that none is lost before. Probes are never handed out as training text: a text that is a
probe anywhere is left out, also where an operator made it one.

A document that was evicted does not come back when it is seen again. The keyed hash of a retired
probe stays for ever: otherwise sending the probe anew would make it fresh. (The ledger counts the
uses of each probe, under the same ids.)
"""

from __future__ import annotations

import os
import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aggregation.replay import Cell, Item, Reservoir, keyed_hash
from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.state.database import Database, Row
from nodes.text.documents import Budgets, Divider, Document, Part

_SCHEMA = """
CREATE TABLE documents (
    id BLOB NOT NULL, part TEXT NOT NULL, source TEXT NOT NULL, child TEXT NOT NULL,
    priority BLOB NOT NULL, size INTEGER NOT NULL, kept INTEGER NOT NULL, fresh INTEGER NOT NULL,
    text BLOB, PRIMARY KEY (id, part, source, child)
);
CREATE INDEX kept_documents ON documents (part, source, priority) WHERE kept = 1;
CREATE INDEX fresh_documents ON documents (source, priority) WHERE fresh = 1;
CREATE TABLE offered (
    part TEXT NOT NULL, source TEXT NOT NULL, child TEXT NOT NULL,
    documents INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (part, source, child)
) WITHOUT ROWID;
CREATE TABLE retired (id BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
FILE = "replay.sqlite"
"""The name of the buffer's file in the state folder."""
_VERSION = 1
_KEY_BYTES = 32
_OWN = ""
"""Stands for a child's id in the rows of the node's own documents."""


@dataclass(frozen=True)
class TakenIn:
    """The result of taking in some documents.

    ``added`` were new, ``known`` were not, or empty. ``evicted`` were kept before and are no more.
    ``passed_over`` found no room among the fresh ones: they are learned from only by replay.
    """

    added: int
    known: int
    evicted: int
    passed_over: int


@dataclass(frozen=True)
class Size:
    """The documents and bytes stored of one part of one source, and how much was ever offered."""

    documents: int
    bytes: int
    offered_documents: int
    offered_bytes: int


class ReplayBuffer:
    """The buffer in one state folder. Thread-safe; several processes may open it."""

    def __init__(self, folder: Path, budgets: Budgets | None = None) -> None:
        """Open or make ``replay.sqlite`` and ``replay.key`` in ``folder``, readable by nobody else.

        Raises ``NodeError`` ``no-replay-key`` or ``wrong-replay-key`` when the key does not fit.
        """
        self._budgets = budgets or Budgets()
        path = folder / FILE
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._database = Database(path, _SCHEMA, _VERSION)
        try:
            self._database.read("PRAGMA secure_delete = ON")
            self._divider = Divider(self._read_key(folder / "replay.key"), self._budgets)
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # -- what comes in and goes

    def take_in(
        self,
        source: str,
        texts: Iterable[str],
        child: str | None = None,
        part: Part | None = None,
    ) -> TakenIn:
        """Take each distinct document once; on disk, whole, when it returns.

        Args:
            source: what the documents are about, named by this node: never by a child.
            child: who shared them; None for the node's own.
            part: for text that an operator set apart; else the keyed hash decides.
        """
        given = list(texts)
        divided: defaultdict[Part, dict[bytes, Document]] = defaultdict(dict)
        for text in given:
            if document := self._divider.document(Cell(source, child), text, part):
                divided[document.part].setdefault(document.id, document)
        added = evicted = 0
        with self._database.transaction():
            for its_part, documents in divided.items():
                unknown = [d for d in documents.values() if not self._knows(d)]
                added += len(unknown)
                evicted += self._offer(its_part, unknown) if unknown else 0
            passed_over = self._bound_fresh() if added else 0
        return TakenIn(added, len(given) - added, evicted, passed_over)

    def learned(self, ids: Iterable[str]) -> None:
        """Mark these fresh documents as learned from: now they are old."""
        with self._database.transaction():
            for id_ in ids:
                self._settle(bytes.fromhex(id_))

    def retire(self, ids: Iterable[str]) -> None:
        """Retire these probes: they give way to others where there is no room for all."""
        with self._database.transaction():
            for id_ in ids:
                self._database.write("INSERT OR IGNORE INTO retired VALUES (?)", bytes.fromhex(id_))

    def forget(self, child: str) -> int:
        """Delete all that a child shared, also the memory of it; return how many were stored.

        The space is overwritten. Which of its probes had retired stays, by keyed hash.
        """
        with self._database.transaction():
            query = "SELECT count(*) FROM documents WHERE child = ? AND kept = 1"
            count = int(self._database.read(query, child)[0][0])
            self._database.write("DELETE FROM documents WHERE child = ?", child)
            self._database.write("DELETE FROM offered WHERE child = ?", child)
        self._database.read("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    # -- what is there

    def fresh(self) -> dict[str, dict[str, str]]:
        """Return own training text that was not yet learned from: of each source id → text."""
        rows = self._database.read(
            "SELECT source, id, text FROM documents d WHERE fresh = 1 AND NOT EXISTS "
            "(SELECT 1 FROM documents WHERE id = d.id AND part = ?) ORDER BY source, priority",
            Part.PROBES,
        )
        return _by_source(rows)

    def training(self, source: str | None = None) -> dict[str, list[str]]:
        """Return old training text of each source, or of one, in an order that reveals nothing."""
        rows = self._database.read(
            "SELECT source, id, text FROM documents d WHERE part = ? AND kept = 1 AND fresh = 0 "
            "AND (? IS NULL OR source = ?) AND NOT EXISTS "
            "(SELECT 1 FROM documents WHERE id = d.id AND part = ?) ORDER BY source, priority",
            *(Part.TRAINING, source, source, Part.PROBES),
        )
        return {name: list(texts.values()) for name, texts in _by_source(rows).items()}

    def descriptors(self) -> dict[str, list[str]]:
        """Return the text for the catalogue's descriptors. It is not sent either."""
        query = (
            "SELECT source, id, text FROM documents WHERE part = ? AND kept = 1 "
            "ORDER BY source, priority"
        )
        rows = self._database.read(query, Part.DESCRIPTORS)
        return {name: list(texts.values()) for name, texts in _by_source(rows).items()}

    def probes(self) -> dict[str, dict[str, str]]:
        """Return the text that is only measured with: of each source id → text."""
        rows = self._database.read(
            "SELECT source, id, text FROM documents WHERE part = ? AND kept = 1 "
            "ORDER BY source, priority",
            Part.PROBES,
        )
        return _by_source(rows)

    def sizes(self) -> dict[Part, dict[str, Size]]:
        """Return the fill of each part, by source."""
        return _sizes(self._database)

    # -- inside

    def _read_key(self, path: Path) -> bytes:
        """Read the secret key; make it once, with the file that it divides."""
        with self._database.transaction():
            rows = self._database.read("SELECT value FROM facts WHERE name = 'check'")
            try:
                key = path.read_bytes()
            except FileNotFoundError:
                if rows:
                    raise NodeError(
                        "no-replay-key",
                        f"{path} is gone; without it, probes would become training text. Restore "
                        "it, or remove replay.sqlite to start with an empty buffer.",
                    ) from None
                key = secrets.token_bytes(_KEY_BYTES)
                write_file(path, key, 0o600)
            check = keyed_hash("check", key)
            if len(key) != _KEY_BYTES or (rows and rows[0][0] != check):
                raise NodeError("wrong-replay-key", f"{path} is not the key of replay.sqlite.")
            if not rows:
                self._database.write("INSERT INTO facts VALUES ('check', ?)", check)
        return key

    def _knows(self, document: Document) -> bool:
        cell = document.item.cell
        return bool(
            self._database.read(
                "SELECT 1 FROM documents WHERE id = ? AND part = ? AND source = ? AND child = ?",
                *(document.id, document.part, cell.source, cell.child or _OWN),
            )
        )

    def _offer(self, part: Part, documents: Sequence[Document]) -> int:
        """Offer unknown documents to the reservoir; return how many were evicted."""
        before = self._reservoir(part)
        after = before.taking(d.item for d in documents)
        evicted = before.items - after.items
        for item in evicted:
            self._database.write(
                "UPDATE documents SET kept = 0, text = iif(fresh, text, NULL) "
                "WHERE part = ? AND source = ? AND child = ? AND priority = ? AND kept = 1",
                *(part, item.cell.source, item.cell.child or _OWN, item.priority),
            )
        for d in documents:
            stays, (source, child) = d.item in after.items, d.item.cell
            self._database.write(
                "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                *(d.id, part, source, child or _OWN, d.item.priority, d.item.size, stays, d.fresh),
                d.text if stays or d.fresh else None,
            )
            self._database.write(
                "INSERT INTO offered VALUES (?, ?, ?, 1, ?) ON CONFLICT DO UPDATE "
                "SET documents = documents + 1, size = size + excluded.size",
                *(part, source, child or _OWN, d.item.size),
            )
        return len(evicted)

    def _reservoir(self, part: Part) -> Reservoir:
        offered = self._database.read(
            "SELECT source, child, size FROM offered WHERE part = ?", part
        )
        rows = self._database.read(
            "SELECT source, child, priority, size, id IN (SELECT id FROM retired) FROM documents "
            "WHERE part = ? AND kept = 1",
            part,
        )
        passed = self._database.read(
            "SELECT source, child, id IN (SELECT id FROM retired) AS late, min(priority) "
            "FROM documents WHERE part = ? AND kept = 0 "
            "GROUP BY source, child, late ORDER BY late DESC",
            part,
        )
        return Reservoir(
            self._budgets.of_part(part),
            self._budgets.child_share,
            {Cell(source, child or None): size for source, child, size in offered},
            frozenset(
                Item(Cell(source, child or None), priority, size, bool(late))
                for source, child, priority, size, late in rows
            ),
            {Cell(source, child or None): (bool(late), at) for source, child, late, at in passed},
        )

    def _bound_fresh(self) -> int:
        """Pass over the last fresh documents when they take too much; return how many."""
        rows = self._database.read(
            "SELECT id, size FROM documents WHERE fresh = 1 ORDER BY priority, source"
        )
        left, passed_over = self._budgets.fresh, 0
        for id_, size in rows:
            left -= size
            if left < 0:
                self._settle(id_)
                passed_over += 1
        return passed_over

    def _settle(self, id_: bytes) -> None:
        self._database.write(
            "UPDATE documents SET fresh = 0, text = iif(kept, text, NULL) "
            "WHERE id = ? AND fresh = 1",
            id_,
        )


def sizes_in(folder: Path) -> dict[Part, dict[str, Size]]:
    """Return the fill of the buffer in a state folder; nothing where there is none."""
    if not (folder / FILE).exists():
        return {}
    database = Database(folder / FILE, _SCHEMA, _VERSION, read_only=True)
    try:
        return _sizes(database)
    finally:
        database.close()


def forget(folder: Path, child: str) -> int:
    """Delete what a child shared from the buffer of a state folder, if there is one."""
    if not (folder / FILE).exists():
        return 0
    with ReplayBuffer(folder) as buffer:
        return buffer.forget(child)


def _sizes(database: Database) -> dict[Part, dict[str, Size]]:
    rows = database.read(
        "SELECT o.part, o.source, sum(o.documents), sum(o.size), "
        "(SELECT count(*) FROM documents d WHERE d.part = o.part AND d.source = o.source "
        "AND kept = 1), "
        "(SELECT coalesce(sum(size), 0) FROM documents d WHERE d.part = o.part "
        "AND d.source = o.source AND kept = 1) "
        "FROM offered o GROUP BY o.part, o.source ORDER BY o.part, o.source"
    )
    by_part: defaultdict[Part, dict[str, Size]] = defaultdict(dict)
    for part, source, offered, offered_bytes, documents, size in rows:
        by_part[Part(part)][source] = Size(documents, size, offered, offered_bytes)
    return dict(by_part)


def _by_source(rows: Iterable[Row]) -> dict[str, dict[str, str]]:
    """Group rows of source, id, text; a document in several sources counts in the first."""
    by_source: defaultdict[str, dict[str, str]] = defaultdict(dict)
    seen: set[bytes] = set()
    for source, id_, text in rows:
        if id_ not in seen:
            by_source[source][id_.hex()] = text.decode()
            seen.add(id_)
    return dict(by_source)
