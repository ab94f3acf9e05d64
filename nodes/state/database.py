"""A SQLite file that survives ``kill -9``: write-ahead log, synced commits, errors in words.

It knows how to open, read and write a file of one version of one schema, from several threads and
processes. It does not know what the tables mean.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nodes.errors import NodeError

_BUSY_S = 30.0
"""Seconds to wait for another process that is writing."""

Row = tuple[Any, ...]


class DatabaseError(NodeError):
    """The error of a file: ``disk-full``, ``disk-error``, ``database-busy``, ``broken-database`` or
    ``newer-database``.

    For all but the last two, what was being written is not there and can be tried again.
    """


class Database:
    """One SQLite file with ``schema`` at ``version``. Thread-safe.

    Args:
        remedy: what a person can do about a damaged file.
    """

    def __init__(
        self, path: Path, schema: str, version: int, *, read_only: bool = False, remedy: str = ""
    ) -> None:
        self._path, self._remedy = path, remedy
        self._lock = threading.RLock()
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        # A reader opens for writing too: after a crash it may have to replay the write-ahead log.
        with self._explained():
            self._connection = _connect(path, "mode=rw" if read_only else "mode=rwc")
            try:
                if read_only:
                    self._open_what_cannot_be_written()
                    self._connection.execute("PRAGMA query_only = ON")
                else:
                    self._prepare(schema, version)
                self._check_version(version)
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
            if self._copy is not None:
                self._copy.cleanup()

    def read(self, query: str, *values: object) -> list[Row]:
        """Read all rows of a query."""
        with self._lock, self._explained():
            return self._connection.execute(query, values).fetchall()

    def write(self, statement: str, *values: object) -> None:
        """Execute one statement, inside ``transaction``."""
        self._connection.execute(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run a transaction: all or nothing, on disk at the end; other writers wait.

        It takes the write lock at its start, so that what it reads stays true until it commits.
        """
        with self._lock, self._explained():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _open_what_cannot_be_written(self) -> None:
        """Open the file anew if its folder is read-only and no other process has it open.

        Without a log of writes it is read as it is. With one, left by a crash, a copy is read in
        which the log can be replayed: the last commits may be in the log alone.
        """
        try:
            self._connection.execute("PRAGMA user_version")
            return
        except sqlite3.OperationalError as error:
            if not error.sqlite_errorname.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN")):
                raise
        self._connection.close()
        log = self._path.with_name(f"{self._path.name}-wal")
        if not log.exists() or log.stat().st_size == 0:
            self._connection = _connect(self._path, "mode=ro&immutable=1")
            return
        self._copy = tempfile.TemporaryDirectory(prefix="banyan-")
        for file in (self._path, log):
            shutil.copyfile(file, Path(self._copy.name) / file.name)
        self._connection = _connect(Path(self._copy.name) / self._path.name, "mode=rw")

    def _prepare(self, schema: str, version: int) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        with self.transaction():
            if self._version() == 0 and not self.read("SELECT 1 FROM sqlite_master LIMIT 1"):
                for statement in _statements(schema):
                    self.write(statement)
                self.write(f"PRAGMA user_version = {version}")

    def _version(self) -> int:
        return int(self.read("PRAGMA user_version")[0][0])

    def _check_version(self, version: int) -> None:
        stored = self._version()
        if stored > version:
            raise DatabaseError(
                "newer-database",
                f"{self._path} was written by a newer version of Banyan (format {stored}, "
                f"this one reads {version}). Install that version.",
            )
        if stored != version:
            raise DatabaseError(
                "broken-database",
                f"{self._path} is not a database of Banyan. {self._remedy}".strip(),
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into a code and a sentence."""
        try:
            yield
        except sqlite3.ProgrammingError:
            raise  # a mistake of ours, not of the file's
        except sqlite3.Error as error:
            name, path = getattr(error, "sqlite_errorname", ""), self._path
            if name == "SQLITE_FULL":
                code, what = "disk-full", f"There is no room to write {path}. Free some space."
            elif name.startswith(("SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
                code, what = "disk-error", f"{path} cannot be read or written: {error}."
            elif name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                code, what = "database-busy", f"Another process keeps {path} locked: {error}."
            else:
                code, what = "broken-database", f"{path} is damaged or not a database: {error}. "
                what = f"{what}{self._remedy}".strip()
            raise DatabaseError(code, what) from error


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        timeout=_BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements; ``executescript`` would commit the transaction around
    them."""
    statement = ""
    for line in script.splitlines():
        statement += line + "\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
