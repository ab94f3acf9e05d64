"""Experiments and cells for the tests: small, real functions with deterministic numbers."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from simulations.experiment import Experiment, Settings, read_experiment
from simulations.records import DoneRecord, LossRecord, NoteRecord, Recorder
from simulations.runner import Outcome, RunCell, run_experiment

SMALL = """
name = "small"
question = "What is small? And a second sentence."
compare = ["attack.name", "case"]
[topology]
fan_out = [2, 3]
[run]
rounds = 4
seeds = [0, 1]
[sweep]
"attack.name" = ["none", "sign_flip"]
[[case]]
name = "tree"
[[case]]
name = "flat"
"topology.fan_out" = [6]
[quick]
"run.rounds" = 1
"""
"""Eight cells: two cases, two attacks, two seeds."""


def small(quick: bool = False, **overrides: Any) -> Experiment:
    """SMALL, with overrides whose dots are written as two underscores."""
    dotted = {path.replace("__", "."): value for path, value in overrides.items()}
    return read_experiment(SMALL, quick=quick, overrides=dotted)


def start(
    experiment: Experiment,
    folder: Path,
    run_cell: RunCell,
    *,
    workers: int = 1,
    only: str = "",
    console: Console | None = None,
) -> Outcome:
    """Run an experiment; what it shows goes nowhere, unless there is a console."""
    shown = console or Console(file=io.StringIO())
    return run_experiment(experiment, folder, shown, run_cell=run_cell, workers=workers, only=only)


def loss(number: int, value: float) -> LossRecord:
    """What the root measured after a round."""
    return LossRecord(
        at_s=number, round=number, scope="/", tier="root", loss=value, base=None, best=None
    )


def done(rounds: int) -> DoneRecord:
    """The last record of a cell that cost nothing."""
    return DoneRecord(
        wall_s=0,
        cpu_s=0,
        peak_bytes=0,
        virtual_s=rounds,
        events=0,
        final={},
        up_bytes=0,
        down_bytes=0,
        messages=0,
        devices=6,
        rounds=rounds,
    )


def numbers(
    settings: Settings,
    seed: int,
    record: Recorder,
    tick: Callable[[float], None],
) -> None:
    """A loss for each round, drawn from the seed and the size of the network."""
    rng = np.random.default_rng([seed, settings.topology.device_count])
    for number in range(settings.run.rounds):
        record(loss(number, rng.random()))
        tick((number + 1) / settings.run.rounds)
    record(done(settings.run.rounds))


def failing(
    settings: Settings,
    seed: int,
    record: Recorder,
    tick: Callable[[float], None],
) -> None:
    """As ``numbers``, but cells of seed 1 fail in the middle."""
    if seed == 1:
        record(loss(0, 1.0))
        raise ArithmeticError("the tree fell over")
    numbers(settings, seed, record, tick)


def dying(
    settings: Settings,
    seed: int,
    record: Recorder,
    tick: Callable[[float], None],
) -> None:
    """As ``numbers``, but the process of a cell of seed 1 is killed."""
    if seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    numbers(settings, seed, record, tick)


def waiting(
    settings: Settings,
    seed: int,
    record: Recorder,
    tick: Callable[[float], None],
) -> None:
    """As ``numbers``, but cells of seed 1 say who they are and then take for ever."""
    if seed == 1:
        text = f"{os.getpid()} {os.environ['OMP_NUM_THREADS']}"
        record(NoteRecord(at_s=0, what="waiting", text=text))
        while True:
            time.sleep(0.05)
            tick(0.5)
    numbers(settings, seed, record, tick)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run that says something, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def main() -> None:
    """Run SMALL in the folder that is named, with cells that take for ever, as the command does."""
    from simulations.processes import terminable

    try:
        with terminable():
            start(small(), Path(sys.argv[1]), waiting, workers=int(sys.argv[2]))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    from tests.simulations.runner import cells

    cells.main()  # so that what is pickled has the module's own name
