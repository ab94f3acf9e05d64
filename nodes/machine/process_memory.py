"""Measure the memory that a set of processes really takes, and give some of it back.

Measured is the proportional set size: a page that k processes share counts 1/k in each, so that
the sum over the nodes of a machine is what they take together. Where the kernel does not tell it
(outside Linux), the memory that only the process has is used instead; shared pages are left out.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_KIB = 1024


def proportional_bytes(pids: Iterable[int]) -> int:
    """Sum the proportional set sizes of ``pids``, in bytes. A process that is gone counts 0."""
    return sum(_of_process(pid) for pid in set(pids))


def with_descendants(pid: int) -> list[int]:
    """Return ``pid`` and every process below it, as of now."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.Error:
        return []


def trim() -> None:
    """Give freed heap pages back to the system; do nothing without glibc."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def give_back_large() -> None:
    """Let every block of 128 KiB and more go back to the system when it is freed.

    Left to itself, glibc keeps blocks as large as the largest that was freed. A process through
    which megabytes pass then holds hundreds of them. For torch it would cost time. Do nothing
    without glibc.
    """
    if _mallopt is not None:
        _mallopt(_M_MMAP_THRESHOLD, _LARGE)


@contextmanager
def uncollected() -> Iterator[None]:
    """Hold back the collector of cycles, within the context.

    Importing torch and transformers makes a million objects that stay; looking through them again
    and again takes a sixth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class MemorySampler:
    """A thread that samples a changing set of processes, from ``with`` to its end.

    Args:
        pids: gives the processes to measure, asked at every sample.
        every_s: seconds between samples. One costs about a millisecond a process, more for a
            large one.
    """

    def __init__(self, pids: Callable[[], Iterable[int]], every_s: float = 1.0) -> None:
        self._pids, self._every_s = pids, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)
        self.current = 0
        """Bytes at the last sample."""
        self.peak = 0
        """The most bytes of any sample."""

    def __enter__(self) -> Self:
        self._sample()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self._sample()

    def _sample(self) -> None:
        self.current = proportional_bytes(self._pids())
        self.peak = max(self.peak, self.current)


def _of_process(pid: int) -> int:
    try:
        return _pss_in((Path("/proc") / str(pid) / "smaps_rollup").read_text("ascii"))
    except OSError:
        return _private_bytes(pid)


def _pss_in(rollup: str) -> int:
    """Read the ``Pss:`` line of a ``smaps_rollup``, in bytes; 0 for a process that is ending."""
    for line in rollup.splitlines():
        name, _, rest = line.partition(":")
        if name == "Pss":
            return int(rest.split()[0]) * _KIB
    return 0


def _private_bytes(pid: int) -> int:
    """Return a process's unique set size, or its resident one if only that may be read."""
    try:
        process = psutil.Process(pid)
        try:
            return int(process.memory_full_info().uss)
        except psutil.AccessDenied:
            return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _glibc(name: str, *arguments: type) -> Callable[..., int] | None:
    try:
        function: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
    function.argtypes, function.restype = list(arguments), ctypes.c_int  # type: ignore[attr-defined]
    return function


_malloc_trim = _glibc("malloc_trim", ctypes.c_size_t)
_mallopt = _glibc("mallopt", ctypes.c_int, ctypes.c_int)
_M_MMAP_THRESHOLD, _LARGE = -3, 128 * 1024  # the number that mallopt(3) gives to the parameter
