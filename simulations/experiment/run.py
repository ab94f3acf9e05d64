"""Running an experiment's cells that are not done yet: one after another here, or in processes.

A run that is interrupted ends its processes, by their ids, and leaves a folder with which the next
run goes on. What a cell gives is the same however many run at once.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from rich.console import Console

from simulations.experiment.folder import Failure, Found, RunFolder, opened
from simulations.experiment.progress import Display
from simulations.experiment.sweep import Cell, Experiment
from simulations.experiment.worker import Ended, Message, RunCell, compute, one_thread, serve

_TERM_S = 5.0
"""Seconds that a process has to end before it is killed."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        cells: how many the experiment has; ``done`` of them have their records in the folder.
        ran: how many this run finished.
        failures: the cells that this run could not finish.
    """

    path: Path
    cells: int
    done: int
    ran: int
    found: Found
    failures: tuple[Failure, ...]


def run_experiment(
    experiment: Experiment,
    path: Path,
    console: Console,
    *,
    run_cell: RunCell | None = None,
    workers: int | None = None,
    only: str = "",
) -> Outcome:
    """Run the cells that have no records in the folder ``path`` yet.

    Args:
        console: where progress is shown.
        run_cell: simulates one cell; ``simulations.world.run_cell`` if not given. With several
            workers it must be importable by its name.
        workers: cells at once; as the experiment says if not given, 0 for all cores.
        only: a part of the names of the cells to run; the others stay as they are.

    Raises:
        NodeError: ``not-an-experiment``, ``run-busy``.
        KeyboardInterrupt: when interrupted; every process was ended before.
    """
    with opened(path, experiment) as (folder, found), one_thread():
        for line in told(found):
            console.print(line, highlight=False)
        cells = [c for c in experiment.cells if only in c.name and not folder.is_done(c)]
        asked = experiment.workers if workers is None else workers
        crew = min(asked or _as_many_as_fit(experiment.cells), len(cells))
        with Display(console, cells) as display:
            if crew > 1:
                failures = _in_processes(folder, cells, crew, run_cell, display)
            else:
                failures = _here(folder, cells, run_cell, display)
        done = sum(folder.is_done(cell) for cell in experiment.cells)
    ran = len(cells) - len(failures)
    return Outcome(path, len(experiment.cells), done, ran, found, tuple(failures))


def told(found: Found) -> Iterator[str]:
    """What a person should know of a folder that was there before."""
    if found.kept:
        yield f"{_cells(found.kept)} done before."
    if found.back:
        yield f"{_cells(found.back)} brought back: the experiment has them again."
    if found.aside:
        yield f"{_cells(found.aside)} set aside, in aside/: the experiment has them no longer."
    if found.older:
        differ = ", ".join(f"{name} {was} (now {now})" for name, (was, now) in found.older.items())
        yield f"Earlier cells were made with {differ}; a new --out runs all of them again."


def _here(
    folder: RunFolder, cells: Sequence[Cell], run_cell: RunCell | None, display: Display
) -> list[Failure]:
    failures = []
    for cell in cells:
        display.start(cell)
        failure = compute(folder, cell, run_cell, partial(display.tick, cell))
        display.end(cell, failure)
        if failure:
            failures.append(failure)
    return failures


@dataclass
class _Worker:
    """A process and the cell that it has; None when it waits for one."""

    process: SpawnProcess
    pipe: Connection
    cell: Cell | None = None


@dataclass
class _Crew:
    """Worker processes, which end with the block that they are used in."""

    folder: RunFolder
    run_cell: RunCell | None
    workers: list[_Worker] = field(default_factory=list)

    def hire(self) -> _Worker:
        """Start one."""
        ours, theirs = get_context("spawn").Pipe()
        process = get_context("spawn").Process(
            target=serve, args=(theirs, self.folder.path, self.run_cell)
        )
        # Ctrl-C reaches a whole group of processes. Workers are ended by the run instead.
        with _interrupts_later():
            process.start()
            self.workers.append(_Worker(process, ours))
        theirs.close()
        return self.workers[-1]

    def __enter__(self) -> _Crew:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for worker in self.workers:
            worker.pipe.close()  # one that waits for a cell ends by itself
            if kind is not None:
                worker.process.terminate()
        for worker in self.workers:
            worker.process.join(_TERM_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _in_processes(
    folder: RunFolder,
    cells: Sequence[Cell],
    count: int,
    run_cell: RunCell | None,
    display: Display,
) -> list[Failure]:
    failures = []
    waiting = deque(cells)
    with _Crew(folder, run_cell) as crew:
        for _ in range(count):
            _give(crew.hire(), waiting, display)
        while busy := {w.pipe: (w, w.cell) for w in crew.workers if w.cell}:
            for pipe in busy.keys() & set(wait(list(busy))):
                worker, cell = busy[pipe]
                message = _hear(worker, cell, folder)
                if not isinstance(message, Ended):
                    display.tick(cell, message)
                    continue
                display.end(cell, message.failure)
                if message.failure:
                    failures.append(message.failure)
                worker.cell = None
                if waiting and worker.pipe.closed:
                    worker = crew.hire()
                if not worker.pipe.closed:
                    _give(worker, waiting, display)
    return failures


def _give(worker: _Worker, waiting: deque[Cell], display: Display) -> None:
    if waiting:
        worker.cell = waiting.popleft()
        display.start(worker.cell)
        with suppress(OSError):  # it died meanwhile: so says the next look at its pipe
            worker.pipe.send(worker.cell)


def _hear(worker: _Worker, cell: Cell, folder: RunFolder) -> Message:
    """The worker's next message. One that died, for want of memory or killed, fails its cell."""
    try:
        message: Message = worker.pipe.recv()
    except (EOFError, OSError):
        worker.pipe.close()
        worker.process.join()
        code = worker.process.exitcode
        sentence = f"The process that ran it ended with status {code}; negative is a signal."
        failure = Failure(cell.id, cell.name, "worker-died", sentence)
        folder.fail(failure)
        return Ended(failure)
    return message


def _as_many_as_fit(cells: Sequence[Cell]) -> int:
    """Cells at once on all cores, where each may be spread over several."""
    widest = max(cell.settings.run.processes for cell in cells)
    return max(1, len(os.sched_getaffinity(0)) // widest)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """SIGINT waits until the end, and for ever in processes that are started within."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _cells(count: int) -> str:
    return "1 cell was" if count == 1 else f"{count} cells were"
