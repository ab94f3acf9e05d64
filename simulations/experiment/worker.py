"""Computing one cell, here or in a process of its own that computes one cell after another.

What a cell gives does not depend on which of both it is, nor on what else runs: it computes on one
thread.
"""

from __future__ import annotations

import importlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Thread
from typing import Protocol, cast

from threadpoolctl import threadpool_limits

from simulations.experiment.folder import Failure, RunFolder
from simulations.experiment.settings import Settings
from simulations.experiment.sweep import Cell
from simulations.records import Recorder

Tick = Callable[[float], None]
"""Told how much of a cell is done, from 0 to 1."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SAY_S = 0.2
"""A worker says how far it is no more often than this."""


class RunCell(Protocol):
    """Simulates one cell; what it raises is recorded as the cell's failure."""

    def __call__(self, settings: Settings, seed: int, record: Recorder, tick: Tick) -> None:
        """Give every record to ``record`` and progress to ``tick``; all chance is from ``seed``."""


@dataclass(frozen=True)
class Ended:
    """What a worker says when a cell has ended; ``failure`` is None when it is done."""

    failure: Failure | None


Message = float | Ended
"""From a worker: how much of its cell is done, or that it has ended."""


def the_simulation() -> RunCell:
    """``simulations.world.run_cell``, which loads model libraries: only where cells run."""
    return cast(RunCell, importlib.import_module("simulations.world").run_cell)


def compute(folder: RunFolder, cell: Cell, run_cell: RunCell | None, tick: Tick) -> Failure | None:
    """Run one cell and write its records; gives why it failed, which is written too."""
    try:
        run = run_cell or the_simulation()
        with folder.writing(cell) as record, threadpool_limits(1):
            run(cell.settings, cell.seed, record, tick)
    except Exception as error:  # one cell that fails ends no other
        failure = _failure(cell, error)
        folder.fail(failure)
        return failure
    return None


@contextmanager
def one_thread() -> Iterator[None]:
    """Libraries that are loaded within it, here or in a process started, compute on one thread."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def serve(pipe: Connection, path: Path, run_cell: RunCell | None) -> None:
    """The life of a worker: takes cells from the pipe until that is closed."""
    Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGTERM, _leave)
    folder = RunFolder(path)
    while True:
        try:
            cell: Cell = pipe.recv()
        except EOFError:
            return
        _say(pipe, Ended(compute(folder, cell, run_cell, _now_and_then(pipe))))


def _leave(*_: object) -> None:
    """End in order: a cell may have processes of its own to close."""
    raise SystemExit(128 + signal.SIGTERM)


def _now_and_then(pipe: Connection) -> Tick:
    said = time.monotonic()

    def tick(fraction: float) -> None:
        nonlocal said
        if time.monotonic() - said >= _SAY_S:
            said = time.monotonic()
            _say(pipe, float(fraction))

    return tick


def _say(pipe: Connection, message: Message) -> None:
    try:
        pipe.send(message)
    except OSError:  # nobody listens any more; the cell is not to be recorded as failed
        os._exit(1)


def _end_with_parent() -> None:
    """Whatever the worker does: a run that is killed leaves nobody who writes to its folder."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _failure(cell: Cell, error: Exception) -> Failure:
    code, sentence = getattr(error, "code", None), getattr(error, "sentence", None)
    if not isinstance(code, str) or not isinstance(sentence, str):
        code, sentence = "crashed", f"{type(error).__name__}: {error}"
    trace = "".join(traceback.format_exception(error))
    return Failure(cell.id, cell.name, str(code), sentence, trace)
