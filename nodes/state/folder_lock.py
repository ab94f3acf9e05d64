"""One daemon for each state folder: a lock that the kernel frees when its process ends.

The lock keeps a second daemon out. Commands that write beside a running daemon (enrol, rollback)
do not take it: the ledger's transactions keep those apart.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from nodes.errors import NodeError

LOCK_FILE = "daemon.lock"
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM}


class FolderLock:
    """The lock of a state folder, held from its creation until it is released.

    The file stays when the lock is gone: only the kernel's lock on it says anything. A process that
    is forked while the lock is held does not hold it.

    Raises:
        NodeError: ``already-running`` when another process holds it, ``read-only-folder`` where
            nothing can be written, ``no-node`` when the folder is not there, ``disk-error`` for
            what else the system refuses.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / LOCK_FILE
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _explained(folder, error) from error
        try:
            self._take()
        except BaseException:
            os.close(self._descriptor)
            raise
        os.register_at_fork(after_in_child=self._close)

    def check(self) -> None:
        """Check that the folder that was locked is still the one at its path.

        Raises ``NodeError`` ``folder-gone`` when it was deleted, moved or replaced: what is written
        from then on would be lost.
        """
        try:
            found = self._path.stat()
        except OSError:
            found = None
        held = os.fstat(self._descriptor)
        if found is None or (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino):
            raise NodeError(
                "folder-gone",
                f"The state folder {self._folder} was deleted, moved or replaced while its node "
                "ran. Put it back and start the node again.",
            )

    def release(self) -> None:
        """Give the lock back; a second time do nothing."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _take(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise _explained(self._folder, error) from error
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            raise NodeError(
                "already-running",
                f"The node in {self._folder} runs already, as process {holder or 'unknown'}. "
                "Stop that one first.",
            ) from None
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError:
            pass  # a full disk: the lock holds, only the number for the sentence is missing

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def is_locked(folder: Path) -> bool:
    """Return whether a daemon holds a folder's lock now. Nothing is written.

    Where none does, the lock is taken for an instant, shared; a daemon that starts in that instant
    finds the folder locked.
    """
    try:
        descriptor = os.open(folder / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in {errno.EWOULDBLOCK, errno.EACCES}
    finally:
        os.close(descriptor)  # and with it the lock
    return False


def _explained(folder: Path, error: OSError) -> NodeError:
    if error.errno in _NOT_WRITABLE:
        return NodeError(
            "read-only-folder",
            f"Nothing can be written in {folder} ({error.strerror}). A node needs a state folder "
            "that it may write to.",
        )
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return NodeError("no-node", f"There is no node in {folder}: the folder is not there.")
    return NodeError("disk-error", f"{folder} cannot be used: {error.strerror}.")
