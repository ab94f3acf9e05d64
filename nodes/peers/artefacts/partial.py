"""An artefact that arrives in parts, from several sources, and survives ``kill -9`` half-way.

Beside the place of the file lie its bytes (``.NAME.part``) and a record of its parts
(``.NAME.parts``): which source gave each, and its SHA-256. When the file is opened again, a part
counts if its bytes have the digest in its record. So nothing has to be synced while parts arrive,
and neither a kill nor a power cut lets a hole pass for a part.

The same records say afterwards who gave wrong bytes: where the whole does not have its digest, they
are kept as suspicions (``.NAME.suspect``) until the right bytes are here to compare them with.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nodes.errors import NodeError
from nodes.peers.artefacts.manifest import sha256_of
from protocol import Digest, NodeId, digest_of

PART = 1024 * 1024
MAX_SUSPICIONS = 1 << 20
_MAGIC = b"banyan parts 1\n\0"
_HEADER = struct.Struct(">16s32sQQ")  # magic, digest, length, bytes of a part
_RECORD = struct.Struct(">I32s32s")  # part, source, SHA-256
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True)
class Given:
    """A part as a source gave it."""

    part: int
    source: NodeId
    digest: Digest


class Parts(ABC):
    """An artefact of known length, and which of its parts are here. Thread-safe.

    Attributes:
        count: how many parts there are; all have ``PART`` bytes but the last.
    """

    def __init__(self, digest: Digest, length: int) -> None:
        self.digest, self.length = digest, length
        self.count = -(-length // PART)
        self._lock = threading.Lock()
        self._given: dict[int, Given] = {}
        self._closed = False

    @property
    def missing(self) -> list[int]:
        """The parts that are not here, in order."""
        with self._lock:
            return [part for part in range(self.count) if part not in self._given]

    @property
    def here(self) -> int:
        """The bytes that are here."""
        with self._lock:
            last = self.count - 1
            return len(self._given) * PART - (PART - self.size(last) if last in self._given else 0)

    @property
    def givers(self) -> dict[NodeId, int]:
        """How many of the parts that are here each source gave."""
        givers: dict[NodeId, int] = {}
        with self._lock:
            for given in self._given.values():
                givers[given.source] = givers.get(given.source, 0) + 1
        return givers

    def size(self, part: int) -> int:
        """Return the length of a part, in bytes."""
        return min(PART, self.length - part * PART)

    def put(self, part: int, data: bytes, source: NodeId) -> bool:
        """Take a part, as a source gave it; return False if it was here already.

        Raises ``ValueError`` for another length than the part's, ``NodeError`` ``no-room``,
        ``disk-error``.
        """
        if not 0 <= part < self.count or len(data) != self.size(part):
            raise ValueError(f"part {part} of {self.count} does not have {len(data)} bytes")
        given = Given(part, source, digest_of(data))
        with self._lock:
            if self._closed or part in self._given:
                return False
            self._store(given, data)
            self._given[part] = given
            return True

    def keep_only(self, source: NodeId | None) -> None:
        """Forget every part that another source gave; suspect all that were here."""
        with self._lock:
            self._suspect(self._given.values())
            kept = {p: given for p, given in self._given.items() if given.source == source}
            self._given = kept
            self._rewrite()

    @abstractmethod
    def finish(self) -> bool:
        """Put the whole artefact in its place, if it has its digest; return whether it has."""

    @abstractmethod
    def suspects(self) -> set[NodeId]:
        """Once the artefact is whole: return who gave parts that differ from it."""

    @abstractmethod
    def _store(self, given: Given, data: bytes) -> None: ...

    @abstractmethod
    def _suspect(self, given: Iterable[Given]) -> None: ...

    @abstractmethod
    def _rewrite(self) -> None: ...


class MemoryParts(Parts):
    """An artefact of one part at most, in memory."""

    def __init__(self, digest: Digest, length: int) -> None:
        super().__init__(digest, length)
        self.data = b""

    def finish(self) -> bool:
        """Return whether the bytes have the digest."""
        return not self.missing and digest_of(self.data) == self.digest

    def suspects(self) -> set[NodeId]:
        """Return nobody: who gives one part gives all."""
        return set()

    def _store(self, given: Given, data: bytes) -> None:
        self.data = data

    def _suspect(self, given: Iterable[Given]) -> None:
        pass

    def _rewrite(self) -> None:
        pass


class PartialFile(Parts):
    """A file that arrives in parts. One process at a time has it.

    Args:
        path: where the whole file will be; its folder is made.

    Raises:
        NodeError: ``busy`` where another process or thread fetches the same, ``no-room``,
            ``disk-error``.
    """

    def __init__(self, path: Path, digest: Digest, length: int) -> None:
        super().__init__(digest, length)
        self.path = path
        self._data = path.with_name(f".{path.name}.part")
        self._records = path.with_name(f".{path.name}.parts")
        self._logged = 0
        self._suspicions = path.with_name(f".{path.name}.suspect")
        with self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = self._lock_data()
        try:
            with self._explained():
                self._log = os.open(self._records, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
                self._resume()
            self._check_room()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file; what is here stays for the next time. A second call does nothing."""
        with self._lock:
            closed, self._closed = self._closed, True
            if not closed:
                os.close(self._fd)
                if hasattr(self, "_log"):
                    os.close(self._log)

    def discard(self) -> None:
        """Delete what is here, and let go of the file."""
        with self._explained():
            for path in (self._data, self._records, self._suspicions):
                path.unlink(missing_ok=True)
        self.close()

    def finish(self) -> bool:
        """Rename the whole file into its place, if it has its digest; return whether it has.

        Raises ``NodeError`` ``disk-error``.
        """
        if self.missing:
            return False
        with self._explained():
            if sha256_of(self._data) != self.digest:
                return False
            os.fsync(self._fd)
            self._data.replace(self.path)
            _sync_folder(self.path.parent)
            self._records.unlink(missing_ok=True)
        return True

    def suspects(self) -> set[NodeId]:
        """Return who gave parts that differ from the whole file, and forget the suspicions."""
        guilty: set[NodeId] = set()
        with self._explained():
            right: dict[int, Digest] = {}
            for given in self._read_records(self._suspicions, self._header):
                if given.part not in right:
                    right[given.part] = digest_of(self._bytes_of(given.part))
                if given.digest != right[given.part]:
                    guilty.add(given.source)
            self._suspicions.unlink(missing_ok=True)
        return guilty

    # -- what lies on disk

    def _lock_data(self) -> int:
        """Open and lock the file of the bytes, the same one that is at its path."""
        while True:
            descriptor = os.open(self._data, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)
                raise NodeError(
                    "busy", f"{self.path.name} is being fetched already; this one waits."
                ) from None
            try:
                if os.path.samestat(os.fstat(descriptor), self._data.stat()):
                    return descriptor
            except FileNotFoundError:
                pass  # finished by another just now
            os.close(descriptor)

    def _resume(self) -> None:
        """Find the parts that are here, each by its digest."""
        size = os.fstat(self._fd).st_size
        for given in self._read_records(self._records, self._header):
            in_file = given.part * PART + self.size(given.part) <= size
            if in_file and digest_of(self._bytes_of(given.part)) == given.digest:
                self._given[given.part] = given
            else:
                self._given.pop(given.part, None)
        os.ftruncate(self._fd, self.length)
        self._rewrite()

    @property
    def _header(self) -> bytes:
        return _HEADER.pack(_MAGIC, bytes.fromhex(self.digest), self.length, PART)

    def _read_records(self, path: Path, header: bytes) -> Iterator[Given]:
        """Read the records of a file, as far as they are whole and of this artefact."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return
        if data[: len(header)] != header:
            return
        body = data[len(header) :]
        for part, source, digest in _RECORD.iter_unpack(
            body[: len(body) // _RECORD.size * _RECORD.size]
        ):
            if part < self.count:
                yield Given(part, NodeId(source.hex()), Digest(digest.hex()))

    def _rewrite(self) -> None:
        with self._explained():
            os.ftruncate(self._log, 0)
            data = self._header + b"".join(map(_packed, self._given.values()))
            _write_all(self._log, data, 0)
            self._logged = len(data)

    def _store(self, given: Given, data: bytes) -> None:
        with self._explained():
            _write_all(self._fd, data, given.part * PART)
            _write_all(self._log, _packed(given), self._logged)  # torn by a crash: no part
            self._logged += _RECORD.size

    def _suspect(self, given: Iterable[Given]) -> None:
        with self._explained():
            header = self._header
            known = list(self._read_records(self._suspicions, header))
            every = list(dict.fromkeys([*known, *given]))[:MAX_SUSPICIONS]
            temporary = self._suspicions.with_name(f"{self._suspicions.name}.new")
            temporary.write_bytes(header + b"".join(map(_packed, every)))
            temporary.replace(self._suspicions)

    def _bytes_of(self, part: int) -> bytes:
        return os.pread(self._fd, self.size(part), part * PART)

    def _check_room(self) -> None:
        lacking, free = self.length - self.here, shutil.disk_usage(self.path.parent).free
        if lacking > free:
            raise _no_room(self.path, f"{lacking:,} more bytes are to come, {free:,} are free")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the system refuses into a code and a sentence."""
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise _no_room(self.path, "the disk is full") from error
            raise NodeError(
                "disk-error", f"{self.path} cannot be written: {error.strerror}."
            ) from error


@contextmanager
def partial_file(path: Path, digest: Digest, length: int) -> Iterator[PartialFile]:
    """Open a partial file, and let go of it at the end."""
    file = PartialFile(path, digest, length)
    try:
        yield file
    finally:
        file.close()


def _packed(given: Given) -> bytes:
    return _RECORD.pack(given.part, bytes.fromhex(given.source), bytes.fromhex(given.digest))


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _no_room(path: Path, why: str) -> NodeError:
    return NodeError("no-room", f"There is no room for {path}: {why}. Free some space.")
