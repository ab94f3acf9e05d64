"""Files named by the SHA-256 of what they hold: deltas, adapters, envelopes.

An artefact is visible only when it is whole and on disk: it is written under a temporary name,
synced, renamed, and its folder is synced. Every read compares the content with the name; a file
that does not match is moved aside and never returned. Several threads and processes may use one
store. The store does not know what its artefacts mean, nor which of them are still needed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from nodes.errors import NodeError
from protocol import Digest, digest_of
from protocol.ids import is_digest

log = structlog.get_logger()

TEMPORARY = ".part-"
CORRUPT = "corrupt"
_CORRUPT_S = 30 * 24 * 3600
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ArtefactError(NodeError):
    """The error of the store: ``missing-artefact``, ``corrupt-artefact``, ``disk-full`` or
    ``disk-error``.

    Attributes:
        digest: of the artefact that is missing or damaged, so that it can be fetched again; None
            for the other two.
    """

    def __init__(self, code: str, sentence: str, digest: Digest | None = None) -> None:
        super().__init__(code, sentence)
        self.digest = digest


class ArtefactStore:
    """A folder of artefacts, ``ab/abcdef…`` by the first two characters of the digest."""

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self._folder = folder
        if read_only:
            return
        with self._explained():
            folder.mkdir(parents=True, exist_ok=True)
            self._remove_leftovers()

    def put(self, data: bytes) -> Digest:
        """Store ``data`` durably and return its digest. Storing it again changes nothing.

        Raises:
            ArtefactError: ``disk-full``, ``disk-error``; nothing was stored.
        """
        digest = digest_of(data)
        path = self._path(digest)
        with self._explained(len(data)):
            try:
                if path.stat().st_size == len(data):
                    os.utime(path)  # as good as new: ``collect`` must not take it for an old one
                    _sync_folder(path.parent)  # another thread may have renamed it just now
                    return digest
            except FileNotFoundError:
                pass
            self._write(path, data)
        return digest

    def heal(self, digest: Digest, data: bytes) -> None:
        """Store the bytes of an artefact that is missing or damaged, in place of what is there.

        Raises:
            ArtefactError: ``corrupt-artefact`` when ``data`` is not what the digest names,
                ``disk-full``, ``disk-error``; nothing was stored.
        """
        if digest_of(data) != digest:
            raise ArtefactError(
                "corrupt-artefact", f"What came for artefact {digest[:12]}… is not it.", digest
            )
        with self._explained(len(data)):
            self._write(self._path(digest), data)

    def get(self, digest: Digest) -> bytes:
        """Read the bytes with this digest.

        Raises:
            ArtefactError: ``missing-artefact``; ``corrupt-artefact`` when the file holds something
                else, which has been moved aside, so that the artefact can be fetched again;
                ``disk-error``.
        """
        path = self._path(digest)
        with self._explained():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                raise _missing(digest) from None
        if digest_of(data) != digest:
            aside = self._move_aside(path)
            raise ArtefactError(
                "corrupt-artefact",
                f"Artefact {digest[:12]}… does not match its name any more, the disk may be "
                f"failing. {aside}; fetch the artefact again.",
                digest,
            )
        return data

    def part(self, digest: Digest, offset: int, length: int) -> bytes:
        """Read ``length`` bytes from ``offset`` on, fewer at the end, without reading the rest.

        Nothing is compared with the digest: ``intact`` does that. Raises ``ArtefactError``
        (``missing-artefact``, ``disk-error``).
        """
        with self._explained():
            try:
                descriptor = os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise _missing(digest) from None
            try:
                return os.pread(descriptor, length, offset)
            finally:
                os.close(descriptor)

    def intact(self, digest: Digest) -> bool:
        """Return whether the artefact is there and matches its digest; change nothing."""
        try:
            return digest_of(self._path(digest).read_bytes()) == digest
        except (OSError, ArtefactError):
            return False

    def has(self, digest: Digest) -> bool:
        """Return whether there is a file for this digest. ``get`` is what checks its content."""
        return is_digest(digest) and self._path(digest).is_file()

    def size(self, digest: Digest) -> int:
        """Return an artefact's length in bytes. Raises ``ArtefactError`` (``missing-artefact``)."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            raise _missing(digest) from None

    def delete(self, digest: Digest) -> None:
        """Remove an artefact; an absent one is no error."""
        self._path(digest).unlink(missing_ok=True)

    def digests(self) -> Iterator[Digest]:
        """Yield every artefact in the store, in order of digest."""
        for path in sorted(self._folder.glob("[0-9a-f][0-9a-f]/*")):
            if is_digest(path.name):
                yield Digest(path.name)

    def total_bytes(self) -> int:
        """Sum the lengths of all artefacts, in bytes."""
        return sum(self.size(digest) for digest in self.digests())

    def collect(self, keep: Set[Digest], min_age_s: float = 3600) -> tuple[int, int]:
        """Delete every artefact that is not in ``keep``; return how many, and their bytes.

        Artefacts stored within the last ``min_age_s`` seconds stay: another thread or process may
        have put one and not yet named it in the ledger.
        """
        count = freed = 0
        newest = time.time() - min_age_s
        for digest in list(self.digests()):
            if digest in keep:
                continue
            try:
                entry = self._path(digest).stat()
            except FileNotFoundError:
                continue
            if entry.st_mtime <= newest:
                self.delete(digest)
                count, freed = count + 1, freed + entry.st_size
        self._forget_corrupt(newest - _CORRUPT_S)
        return count, freed

    def _forget_corrupt(self, newest: float) -> None:
        """Delete damaged files that were moved aside before a time: nobody looked at them."""
        for path in self._folder.glob(f"{CORRUPT}/*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime <= newest:
                    path.unlink()

    def _path(self, digest: Digest) -> Path:
        if not is_digest(digest):
            raise ArtefactError("missing-artefact", f"{digest[:80]!r} is not a digest.")
        return self._folder / digest[:2] / digest

    def _write(self, path: Path, data: bytes) -> None:
        """Write under a temporary name, then rename; each step on disk before the next."""
        if not path.parent.exists():
            path.parent.mkdir(exist_ok=True)  # not its parents: the store may be gone
            _sync_folder(self._folder)
        descriptor, temporary = self._temporary()
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(descriptor)
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)

    def _temporary(self) -> tuple[int, Path]:
        """Create a file, locked while it is being written: an unlocked one is a leftover.

        Between creation and lock another process may take it for one; then another is made.
        """
        while True:
            temporary = self._folder / f"{TEMPORARY}{secrets.token_hex(8)}"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            if _lock(descriptor) and os.fstat(descriptor).st_nlink == 1:
                return descriptor, temporary
            os.close(descriptor)

    def _remove_leftovers(self) -> None:
        for path in self._folder.glob(f"{TEMPORARY}*"):
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                if _lock(descriptor):
                    path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)

    def _move_aside(self, path: Path) -> str:
        """Move a damaged file out of the way, and say where it is now."""
        aside = self._folder / CORRUPT / f"{path.name}.{secrets.token_hex(4)}"
        try:
            aside.parent.mkdir(exist_ok=True)
            path.replace(aside)
        except OSError as error:
            log.error("artefact-corrupt", digest=path.name, why=str(error))
            return f"The file is {path}"
        log.error("artefact-corrupt", digest=path.name, moved_to=str(aside))
        return f"The file was moved to {aside}"

    @contextmanager
    def _explained(self, length: int = 0) -> Iterator[None]:
        """Turn what the system refuses into a code and a sentence."""
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise ArtefactError(
                    "disk-full",
                    f"There is no room for {length:,} bytes in {self._folder}. "
                    "Free some space; nothing was lost, what was being done is tried again.",
                ) from error
            raise ArtefactError(
                "disk-error",
                f"The artefacts in {self._folder} cannot be read or written: {error.strerror}.",
            ) from error


def _missing(digest: Digest) -> ArtefactError:
    return ArtefactError(
        "missing-artefact", f"Artefact {digest[:12]}… is not in the store.", digest
    )


def _lock(descriptor: int) -> bool:
    """Lock a file if nobody else has; the kernel frees it when its last descriptor closes."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    """Make a rename or a new entry in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
