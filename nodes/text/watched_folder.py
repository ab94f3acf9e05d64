"""Watch a folder: documents that arrive are taken into the replay buffer, each once.

The folders directly below it name sources; files beside them belong to the source ``own``. Files
are read and never changed. A file that grows, moves or is copied brings only what is new in it: the
buffer knows its documents. A file that cannot be read is reported once, and again when it changed.

A file that may still be written is left until it rests. Links are not followed, so nothing outside
of the folder is read; a file, the number of files and what one scan reads are bounded.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.state.database import Database
from nodes.text.files import COLUMN, READERS, parse_texts
from nodes.text.replay_buffer import ReplayBuffer

OWN = "own"
"""The source of files that lie in the watched folder itself."""
LINE_FORMS = (".txt", ".jsonl")
"""Forms of which every whole line can be read while the file grows."""

_SCHEMA = """
CREATE TABLE files (
    path TEXT PRIMARY KEY,
    inode INTEGER NOT NULL, size INTEGER NOT NULL, changed_ns INTEGER NOT NULL
) WITHOUT ROWID;
"""
_VERSION = 1
_AT_ONCE = 50_000
"""Documents in one call; each takes about half a kilobyte of memory until it is stored."""


@dataclass(frozen=True)
class Limits:
    """The limits of a scan. ``rest_s``: a file unchanged for so many seconds is whole."""

    rest_s: float = 5.0
    file_bytes: int = 64 << 20
    scan_bytes: int = 256 << 20
    files: int = 10_000


@dataclass(frozen=True)
class FileRefusal:
    """A file that was not taken in, with a stable code and a sentence for a person.

    Codes: ``bad-text``, ``unknown-ending``, ``file-too-large``, ``too-many-files``, ``link``,
    ``not-a-file``, ``unreadable``.
    """

    path: str
    code: str
    sentence: str


@dataclass(frozen=True)
class Scan:
    """The result of one scan. ``added`` and ``known`` count documents; ``waiting`` names files that
    may still be written or are left for the next scan."""

    read: tuple[str, ...] = ()
    added: int = 0
    known: int = 0
    waiting: tuple[str, ...] = ()
    refused: tuple[FileRefusal, ...] = ()


class Arrivals:
    """A scanner of one folder for one buffer.

    Args:
        folder: the watched folder.
        state: the node's state folder; ``arrivals.sqlite`` in it remembers which files were read.
        column: the name of the text in ``.jsonl`` and ``.csv``.
    """

    def __init__(
        self,
        folder: Path,
        buffer: ReplayBuffer,
        state: Path,
        clock: Clock,
        *,
        column: str = COLUMN,
        limits: Limits | None = None,
    ) -> None:
        self._folder, self._buffer, self._clock = folder, buffer, clock
        self._state, self._column, self._limits = state, column, limits or Limits()
        if folder.resolve() == state.resolve():
            raise NodeError("bad-config", f"{folder} holds the node's state; watch another folder.")
        self._database = Database(state / "arrivals.sqlite", _SCHEMA, _VERSION)

    def close(self) -> None:
        """Close the file; the buffer stays open."""
        self._database.close()

    def scan(self) -> Scan:
        """Take in what is new.

        Raises ``NodeError`` ``no-watch-folder``, and ``DatabaseError`` when it cannot be stored;
        what was not stored is new at the next scan.
        """
        stamps = {row[0]: row[1:] for row in self._database.read("SELECT * FROM files")}
        seen: set[str] = set()
        files: list[_File] = []
        refused: list[FileRefusal] = []
        for entry in self._entries():
            seen.add(entry.name)
            if stamps.get(entry.name) == entry.stamp:
                continue
            if isinstance(entry, _File):
                files.append(entry)
            else:
                refused.append(entry.refusal)
                self._remember(entry)
        scan = self._read(files, refused)
        with self._database.transaction():
            for name in stamps.keys() - seen:
                self._database.write("DELETE FROM files WHERE path = ?", name)
        return scan

    def _read(self, files: list[_File], refused: list[FileRefusal]) -> Scan:
        read, waiting = [], []
        added = known = total = 0
        for file in files:
            if total and total + file.size > self._limits.scan_bytes:
                waiting.append(file.name)
                continue
            try:
                data = self._content(file)
                if data is None:
                    waiting.append(file.name)
                    continue
                total += len(data)
                texts = parse_texts(file.path, data, self._column)
            except OSError as error:
                sentence = f"{file.path} cannot be read: {error.strerror}."
                refused.append(FileRefusal(file.name, "unreadable", sentence))
            except NodeError as error:
                refused.append(FileRefusal(file.name, error.code, error.sentence))
            else:
                read.append(file.name)
                for start in range(0, len(texts), _AT_ONCE):
                    taken = self._buffer.take_in(file.source, texts[start : start + _AT_ONCE])
                    added += taken.added
                    known += taken.known
            self._remember(file)  # only now: after a crash it is read again, and nothing is new
        return Scan(tuple(read), added, known, tuple(waiting), tuple(refused))

    def _content(self, file: _File) -> bytes | None:
        """Read the bytes of a file that is whole; None while it may still be written."""
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            data = opened.read(file.size + 1)
            if _stamp(os.fstat(descriptor)) != file.stamp:
                return None  # it is being written, or another one lies there now
        lines = file.path.suffix.lower() in LINE_FORMS and data.endswith(b"\n")
        # A time far ahead comes from a clock that was set: such a file must not wait for ever.
        rested_ms = abs(self._clock.now_ms() - file.stamp[2] // 1_000_000)
        return data if lines or rested_ms >= self._limits.rest_s * 1000 else None

    def _remember(self, entry: _File | _Refused) -> None:
        with self._database.transaction():
            self._database.write(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", entry.name, *entry.stamp
            )

    def _entries(self) -> Iterator[_File | _Refused]:
        """List every file below the folder, in the order of folders and names, without hidden
        ones."""
        try:
            whole = self._folder.stat()
            if not stat.S_ISDIR(whole.st_mode):
                raise NotADirectoryError
            own = self._state.stat()
        except OSError:
            raise NodeError(
                "no-watch-folder", f"The watched folder {self._folder} is not there."
            ) from None
        folders, count = [(self._folder, whole)], 0
        while folders:
            folder, itself = folders.pop()
            try:
                paths = sorted(folder.iterdir())
            except OSError as error:
                name = _shown(f"{folder.relative_to(self._folder)}/")
                sentence = f"The folder {name} cannot be read: {error.strerror}."
                yield _refused(name, "unreadable", sentence, itself)
                continue
            for path in paths:
                if path.name.startswith("."):
                    continue
                try:
                    status = path.lstat()
                except OSError:
                    continue
                count += 1
                if count > self._limits.files:
                    sentence = f"{self._folder} holds more than {self._limits.files} files."
                    yield _refused("", "too-many-files", sentence, whole)
                    return
                if stat.S_ISDIR(status.st_mode):
                    if (status.st_dev, status.st_ino) != (own.st_dev, own.st_ino):
                        folders.append((path, status))
                else:
                    yield self._entry(path, status)

    def _entry(self, path: Path, status: os.stat_result) -> _File | _Refused:
        inside = path.relative_to(self._folder)
        # A name that is not UTF-8 can be opened, but neither stored nor shown.
        name, top = (_shown(str(part)) for part in (inside, inside.parts[0]))
        limit = self._limits.file_bytes
        if stat.S_ISLNK(status.st_mode):
            return _refused(name, "link", f"{name} is a link; copy the file instead.", status)
        if not stat.S_ISREG(status.st_mode):
            return _refused(name, "not-a-file", f"{name} is not an ordinary file.", status)
        if path.suffix.lower() not in READERS:
            sentence = f"{name}: expected {', '.join(READERS)}, got {path.suffix or 'no ending'}."
            return _refused(name, "unknown-ending", _shown(sentence), status)
        if status.st_size > limit:
            sentence = f"{name} has {status.st_size} bytes, at most {limit} are read. Divide it."
            return _refused(name, "file-too-large", sentence, status)
        source = top if len(inside.parts) > 1 else OWN
        return _File(name, _stamp(status), path, source, status.st_size)


@dataclass(frozen=True)
class _File:
    name: str
    stamp: tuple[int, int, int]
    path: Path
    source: str
    size: int


@dataclass(frozen=True)
class _Refused:
    name: str
    stamp: tuple[int, int, int]
    refusal: FileRefusal


def _refused(name: str, code: str, sentence: str, status: os.stat_result) -> _Refused:
    return _Refused(name, _stamp(status), FileRefusal(name, code, sentence))


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    """Return inode, size and time of the last change: not of the last writing, which a copy may
    keep."""
    return status.st_ino, status.st_size, max(status.st_ctime_ns, status.st_mtime_ns)


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "replace")
