"""A machine-wide lease: at most N processes or threads compute at one time.

A holder has an exclusive ``flock`` on one of N slot files in a folder that all nodes of the machine
share. The kernel frees it when its process ends, however it ends, so a lease cannot be left behind.
Everyone who uses a folder must name the same N. The order in which waiters are served is not fixed.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nodes.errors import NodeError

_POLL_S = 0.1


class LeaseAborted(NodeError):
    """The error of a wait for a slot that ended because the node was told to stop (``stopped``)."""

    def __init__(self) -> None:
        super().__init__("stopped", "The node was stopped while it waited for its turn to compute.")


class Lease:
    """A lease of ``slots`` slots in ``folder``. One object may be used from several threads."""

    def __init__(self, folder: Path, slots: int = 2) -> None:
        if slots < 1:
            raise ValueError(f"A lease has at least one slot, got {slots}.")
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [folder / f"slot-{i}" for i in range(slots)]

    @contextmanager
    def hold(self, stop: threading.Event) -> Iterator[float]:
        """Wait for a slot and hold it; yield the seconds of waiting.

        Raises ``LeaseAborted`` when ``stop`` is set before a slot is free.
        """
        started = time.monotonic()
        while not stop.is_set():
            descriptor = self._take()
            if descriptor is not None:
                break
            stop.wait(_POLL_S)
        else:
            raise LeaseAborted
        try:
            yield time.monotonic() - started
        finally:
            os.close(descriptor)

    def _take(self) -> int | None:
        """Open and lock the file of a free slot; None when all are taken."""
        for path in self._files:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            else:
                return descriptor
        return None
