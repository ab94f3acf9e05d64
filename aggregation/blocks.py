"""Process the columns of many long rows in one pass, in blocks that fit the cache, on every core.

Each core takes the next block; results come back in the order of the blocks, so the number of
cores never changes a bit. BLAS is held to one thread meanwhile: its own threads would wait for
ours, which takes ten times as long on a busy machine.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

Columns = slice | NDArray[np.intp]
"""The columns of a block: all, or some by their index in it."""

Loops = ModuleType | None
"""``aggregation.compiled``; None if numpy does the work alone."""

WORTHWHILE = 1 << 23
"""Values of all updates from which on compiled loops are loaded: half a second and 130 MB, once."""

AT_ONCE = 8
"""Rows that a compiled loop takes in one call: it lets go of the interpreter once for all."""

T = TypeVar("T")
Real = TypeVar("Real", np.float32, np.float64, np.bool_)


def cores() -> int:
    """Return the number of threads: ``OMP_NUM_THREADS`` if it is set, else this process's cores."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def each_block(size: int, width: int, work: Callable[[slice], T]) -> Iterator[T]:
    """Call ``work`` for every block of ``width`` columns and yield the results in order."""
    blocks = [slice(start, min(start + width, size)) for start in range(0, size, width)]
    if len(blocks) <= 1:  # a thread would take longer to start than the work takes
        with _blas().limit(limits=1, user_api="blas"):
            yield from map(work, blocks)
        return
    threads = min(cores(), len(blocks))
    # A pool also for one thread: the memory that it keeps for its blocks ends with it.
    pool = ThreadPoolExecutor(max(threads, 1), thread_name_prefix="aggregate")
    with _blas().limit(limits=1, user_api="blas"), pool:
        yield from pool.map(work, blocks)


def compiled_loops(values: int) -> Loops:
    """Return the compiled loops; None without numba, or for so few values that they do not pay."""
    return _loops() if values >= WORTHWHILE else None


def eights(rows: Sequence[NDArray[Any]]) -> Iterator[tuple[int, tuple[NDArray[Any], ...]]]:
    """Yield ``AT_ONCE`` rows at a time with the index of the first; the last row fills the gaps."""
    for first in range(0, len(rows), AT_ONCE):
        some = tuple(rows[first : first + AT_ONCE])
        yield first, some + some[-1:] * (AT_ONCE - len(some))


def width_of(block: slice, columns: Columns) -> int:
    """Count the columns of a block that are selected."""
    return block.stop - block.start if isinstance(columns, slice) else len(columns)


def gather(rows: Sequence[Any], block: slice, columns: Columns, out: NDArray[Any]) -> NDArray[Any]:
    """Copy some columns of some rows (``updates.Source``) into ``out``, (n, b), side by side.

    Row by row: numpy lets go of the interpreter while it copies one, but not while it makes an
    array of a list.
    """
    for at, row in enumerate(rows):
        out[at] = row[block][columns]
    return out


def scratch(name: str, shape: tuple[int, ...], dtype: type[Real]) -> NDArray[Real]:
    """Return this core's own array to write to until the block ends; ``name`` tells uses apart.

    The same memory serves every block: fresh memory is cleared page by page when it is first
    touched, which costs more than the work that is done in it.
    """
    buffers: dict[str, NDArray[np.uint8]] = _LOCAL.__dict__
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if name not in buffers or buffers[name].size < needed:
        buffers[name] = np.empty(needed, np.uint8)
    return buffers[name][:needed].view(dtype).reshape(shape)


_LOCAL = threading.local()


@lru_cache(maxsize=1)
def _blas() -> ThreadpoolController:
    """Control numpy's BLAS only: torch's has the learner's setting."""
    return ThreadpoolController().select(internal_api="openblas")


@lru_cache(maxsize=1)
def _loops() -> Loops:
    try:
        from aggregation import compiled
    except ImportError:
        return None
    return compiled
