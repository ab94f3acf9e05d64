"""Running an experiment's cells that are not done yet: one after another here, or in processes.

A run that is interrupted ends its processes and leaves a folder with which the next run goes on.
What a cell gives is the same however many run at once: each computes on one thread.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.console import Console
from threadpoolctl import threadpool_limits

from simulations.experiment.folder import RunFolder, TakenOver, opened
from simulations.experiment.settings import Settings
from simulations.experiment.sweep import Cell, Experiment
from simulations.processes import ONE_THREAD, Say, Supervisor, environment, steps
from simulations.records import FailureRecord, Recorder
from simulations.runner.progress import Display

Tick = Callable[[float], None]
"""Called with how much of a cell is done, from 0 to 1."""
_SAY_S = 0.2
"""A process says how far it is no more often than this."""


class RunCell(Protocol):
    """Simulates one cell; what it raises is recorded as the cell's failure."""

    def __call__(self, settings: Settings, seed: int, record: Recorder, tick: Tick) -> None:
        """Give every record to ``record`` and progress to ``tick``; all draws are from ``seed``."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the experiment has so many ``cells``, ``done`` have their records in the
    folder, this run finished ``ran`` of them and could not finish those of ``failures``."""

    path: Path
    cells: int
    done: int
    ran: int
    taken_over: TakenOver
    failures: tuple[FailureRecord, ...]


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
    with opened(path, experiment) as (folder, taken_over), environment(ONE_THREAD):
        for line in _lines(taken_over):
            console.print(line, highlight=False)
        cells = [c for c in experiment.cells if only in c.name and not folder.is_done(c)]
        asked = experiment.workers if workers is None else workers
        count = min(asked or _as_many_as_fit(experiment.cells), len(cells))
        with Display(console, cells) as display:
            run_all = _in_processes if count > 1 else _here
            failures = tuple(run_all(folder, cells, count, run_cell, display))
        done = sum(folder.is_done(cell) for cell in experiment.cells)
    return Outcome(
        path, len(experiment.cells), done, len(cells) - len(failures), taken_over, failures
    )


def _lines(taken_over: TakenOver) -> Iterator[str]:
    """What a person should know of a folder that was there before."""
    if taken_over.done:
        yield f"{_cells(taken_over.done)} done before."
    if taken_over.back:
        yield f"{_cells(taken_over.back)} brought back: the experiment has them again."
    if taken_over.aside:
        yield f"{_cells(taken_over.aside)} set aside, in aside/: the experiment has them no longer."
    if taken_over.older:
        differ = ", ".join(
            f"{name} {was} (now {now})" for name, (was, now) in taken_over.older.items()
        )
        yield f"Earlier cells were made with {differ}; a new --out runs all of them again."


def _here(
    folder: RunFolder, cells: Sequence[Cell], _: int, run_cell: RunCell | None, display: Display
) -> Iterator[FailureRecord]:
    for cell in cells:
        display.start(cell)
        failure = _compute(folder, run_cell, cell, partial(display.tick, cell))
        display.end(cell, failure)
        if failure:
            yield failure


def _in_processes(
    folder: RunFolder, cells: Sequence[Cell], count: int, run_cell: RunCell | None, display: Display
) -> Iterator[FailureRecord]:
    with Supervisor() as supervisor:
        compute = partial(_compute_there, folder, run_cell)
        for cell, kind, value in steps(supervisor, compute, cells, count):
            if kind == "began":
                display.start(cell)
            elif kind == "said":
                display.tick(cell, value)
            else:
                failure: FailureRecord | None = value
                if kind == "died":  # for want of memory, or killed
                    sentence = f"Its process ended with status {value}; negative is a signal."
                    failure = _fail(folder, cell, "worker-died", sentence)
                display.end(cell, failure)
                if failure:
                    yield failure


def _compute(
    folder: RunFolder, run_cell: RunCell | None, cell: Cell, tick: Tick
) -> FailureRecord | None:
    """Run one cell and write its records; gives why it failed, which is written too."""
    try:
        run = run_cell or _the_simulation()
        with folder.writing(cell) as record, threadpool_limits(1):
            run(cell.settings, cell.seed, record, tick)
    except Exception as error:  # one cell that fails ends no other
        code, sentence = getattr(error, "code", None), getattr(error, "sentence", None)
        if not isinstance(code, str) or not isinstance(sentence, str):
            code, sentence = "crashed", f"{type(error).__name__}: {error}"
        return _fail(folder, cell, code, sentence, "".join(traceback.format_exception(error)))
    return None


def _fail(
    folder: RunFolder, cell: Cell, code: str, sentence: str, trace: str = ""
) -> FailureRecord:
    failure = FailureRecord(id=cell.id, name=cell.name, code=code, sentence=sentence, trace=trace)
    folder.fail(failure)
    return failure


def _the_simulation() -> RunCell:
    """It loads model libraries: only where cells run."""
    from simulations.world import run_cell

    return run_cell


def _compute_there(
    folder: RunFolder, run_cell: RunCell | None, cell: Cell, say: Say
) -> FailureRecord | None:
    last = time.monotonic()

    def tick(fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last >= _SAY_S:
            last = time.monotonic()
            say(float(fraction))

    return _compute(folder, run_cell, cell, tick)


def _as_many_as_fit(cells: Sequence[Cell]) -> int:
    """Cells at once on all cores, where each may be spread over several."""
    widest = max(cell.settings.run.processes for cell in cells)
    return max(1, len(os.sched_getaffinity(0)) // widest)


def _cells(count: int) -> str:
    return "1 cell was" if count == 1 else f"{count} cells were"
