"""The file of statuses, ``statuses.sqlite`` in a node's state folder: rows in, rows out.

It is no ledger: every status comes again within half a minute, so the file may be lost, nothing in
it is synced, and one that is damaged is replaced by an empty one. Who may write a row is decided in
``book``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import structlog

from nodes.state.database import Database, DatabaseError
from protocol import Digest, NodeId
from protocol.peer_pb2 import Signed

log = structlog.get_logger()

STATUSES_FILE = "statuses.sqlite"
OWN = NodeId("")
"""Stands for the child by which a node's own status came: none."""
CHILDREN_NOTE, HOLDS_NOTE = "children", "holds-until"
"""Notes of the node's process: the fold of its children, and when the first of their memberships
ends, milliseconds."""
MOST_REFUSALS = 256
"""Refusals that are remembered of what one child handed in; the oldest go first."""

_VERSION = 1
_SCHEMA = """
CREATE TABLE statuses (
    via TEXT NOT NULL,
    node TEXT NOT NULL,
    parent TEXT NOT NULL,
    tier INTEGER NOT NULL,
    name TEXT NOT NULL,
    issued_ms INTEGER NOT NULL,
    arrived_ms INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    confined INTEGER NOT NULL,
    hidden INTEGER NOT NULL,
    size INTEGER NOT NULL,
    digest TEXT NOT NULL,
    statement BLOB NOT NULL,
    certificate BLOB NOT NULL,
    PRIMARY KEY (via, node)
);
CREATE TABLE refusals (
    via TEXT NOT NULL,
    node TEXT NOT NULL,
    code TEXT NOT NULL,
    via_name TEXT NOT NULL,
    sentence TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    PRIMARY KEY (via, node, code)
);
CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_COLUMNS = (
    "via, node, parent, tier, name, issued_ms, arrived_ms, seq, confined, hidden, size, digest"
)


@dataclass(frozen=True, slots=True)
class Row:
    """What is known of a kept status without reading it.

    Attributes:
        via: the node's own child that handed it in; ``OWN`` for the node's own.
        parent: of the node that signed it. ``tier``: its distance from the node that keeps it.
        issued_ms: by the signer's clock. ``arrived_ms``: by this machine's.
        seq: counts what was kept in this file.
        confined: it stays here. ``hidden``: how many it says are confined below it.
        size: bytes of statement and certificate. ``digest``: SHA-256 of the statement's envelope.
    """

    via: NodeId
    node: NodeId
    parent: NodeId
    tier: int
    name: str
    issued_ms: int
    arrived_ms: int
    seq: int
    confined: bool
    hidden: int
    size: int
    digest: Digest


@dataclass(frozen=True, slots=True)
class KeptRefusal:
    """A status that was not taken, or several from the same hands for the same reason.

    ``via`` is the child that handed it in, ``node`` the one of which it was said to be; empty where
    that could not be read.
    """

    via: NodeId
    node: NodeId
    code: str
    via_name: str
    sentence: str
    count: int
    first_ms: int
    last_ms: int


class StatusFile:
    """The rows of one file. Thread-safe; one process writes, others may read.

    Args:
        folder: the node's state folder.
        read_only: for a reader beside the node, or without one.

    Raises ``DatabaseError``; a reader also where there is no file.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._path, self._read_only = folder / STATUSES_FILE, read_only
        try:
            self._database = self._open()
        except DatabaseError as error:
            if read_only or error.code not in ("broken-database", "newer-database"):
                raise
            self._database = self._anew(error)

    def begin_anew(self, error: DatabaseError) -> None:
        """Replace a file that turned out to be damaged by an empty one."""
        self._database.close()
        self._database = self._anew(error)

    def _anew(self, error: DatabaseError) -> Database:
        log.warning("statuses-begun-anew", code=error.code, why=error.sentence)
        for ending in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        return self._open()

    def _open(self) -> Database:
        database = Database(self._path, _SCHEMA, _VERSION, read_only=self._read_only)
        if not self._read_only:
            database.write("PRAGMA synchronous = OFF")
        return database

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write several rows at once, all or none."""
        with self._database.transaction():
            yield

    # -- statuses

    def rows(self) -> list[Row]:
        """Read everything but the statuses themselves."""
        found = self._database.read(f"SELECT {_COLUMNS} FROM statuses")  # noqa: S608
        return [Row(*values) for values in found]

    def signed(self, row: Row) -> Signed | None:
        """Read the kept status of a row, as it was signed; None if it is gone."""
        found = self._database.read(
            "SELECT statement, certificate FROM statuses WHERE via = ? AND node = ?",
            row.via,
            row.node,
        )
        return Signed(statement=found[0][0], certificate=found[0][1]) if found else None

    def statements(self) -> dict[tuple[NodeId, NodeId], bytes]:
        """Read every status, as the envelope that its node signed, by child and node."""
        found = self._database.read("SELECT via, node, statement FROM statuses")
        return {(via, node): statement for via, node, statement in found}

    def keep(self, row: Row, signed: Signed) -> None:
        """Write a row, in place of the one of the same node by the same child."""
        self._database.write(
            f"INSERT OR REPLACE INTO statuses ({_COLUMNS}, statement, certificate) "  # noqa: S608
            f"VALUES ({', '.join('?' * 14)})",
            *(getattr(row, field.name) for field in fields(row)),
            signed.statement,
            signed.certificate,
        )

    def drop(self, rows: Iterable[Row]) -> None:
        """Remove rows."""
        for row in rows:
            self._database.write(
                "DELETE FROM statuses WHERE via = ? AND node = ?", row.via, row.node
            )

    # -- what was refused

    def refusals(self) -> list[KeptRefusal]:
        """Read what was refused, the latest first."""
        found = self._database.read("SELECT * FROM refusals ORDER BY last_ms DESC, via, node, code")
        return [KeptRefusal(*values) for values in found]

    def keep_refusal(
        self, via: NodeId, via_name: str, node: str, code: str, sentence: str, now_ms: int
    ) -> None:
        """Count a refusal, and forget the oldest ones of the same child beyond a number."""
        self._database.write(
            "INSERT INTO refusals VALUES (?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT DO UPDATE SET "
            "count = count + 1, sentence = excluded.sentence, last_ms = excluded.last_ms",
            *(via, node, code, via_name, sentence, now_ms, now_ms),
        )
        self._database.write(
            "DELETE FROM refusals WHERE via = ? AND rowid NOT IN (SELECT rowid FROM refusals "
            "WHERE via = ? ORDER BY last_ms DESC, rowid DESC LIMIT ?)",
            *(via, via, MOST_REFUSALS),
        )

    # -- small things

    def note(self, name: str) -> str:
        """Read a note; empty if there is none."""
        found: Sequence[tuple[str]] = self._database.read(
            "SELECT value FROM notes WHERE name = ?", name
        )
        return found[0][0] if found else ""

    def write_note(self, name: str, value: str) -> None:
        """Write a note, inside ``transaction``."""
        self._database.write("INSERT OR REPLACE INTO notes VALUES (?, ?)", name, value)
