"""``banyan sim chaos``: break a network of production nodes in every way that its seed says."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodes.cli.output import AsJson, console, errors, one_sentence, print_json

if TYPE_CHECKING:
    from simulations.chaos.run import Result

PASSED = Path("runs/chaos")


def chaos(
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each, before it heals.")] = 500,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0: one a core.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Also seeds that passed before.")] = False,
    json: AsJson = False,
) -> None:
    """Lose, double and delay mail, crash nodes at durable steps, and check what must hold.

    A seed that fails is printed with the command that repeats it; the exit status is then 1. Seeds
    that passed are remembered below runs/chaos, so that an interrupted run goes on.

    Examples:
      banyan sim chaos --seed 7 --steps 500
      banyan sim chaos --seeds 2000
    """
    with one_sentence():
        passed = PASSED / f"steps-{steps}.txt"
        known = set() if fresh or seeds == 1 else _read(passed)
        todo = [number for number in range(seed, seed + seeds) if number not in known]
        failed: list[Result] = []
        started, last = time.monotonic(), None
        for done, result in enumerate(_results(todo, steps, workers), start=1):
            last = result
            if result.failure:
                failed.append(result)
                _tell(result)
            elif seeds > 1:
                _remember(passed, result.seed)
            if seeds > 1 and done % 20 == 0:
                left = (time.monotonic() - started) / done * (len(todo) - done)
                errors.print(f"{done} of {len(todo)} seeds, {left / 60:.0f} min left")
        if json:
            print_json(
                {
                    "seeds": seeds,
                    "passed_before": seeds - len(todo),
                    "failed": [asdict(result) for result in failed],
                    "last": asdict(last) if last else None,
                }
            )
        else:
            if last and seeds == 1:
                console.print(f"trace {last.digest}, {last.steps} steps, {last.seconds:.1f} s")
            console.print(f"{seeds - len(failed)} of {seeds} seeds pass.", highlight=False)
        if failed:
            raise typer.Exit(1)


def _results(todo: list[int], steps: int, workers: int) -> Iterator[Result]:
    from simulations.chaos.run import run

    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(todo) == 1:
        yield from (run(number, steps) for number in todo)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        yield from pool.map(partial(run, steps=steps), todo)


def _tell(result: Result) -> None:
    failure = result.failure
    assert failure is not None  # noqa: S101  asked by the caller
    errors.print(f"seed {failure.seed}, step {failure.step}: {failure.sentence}", highlight=False)
    errors.print(failure.what, highlight=False, markup=False)
    for line in failure.trace:
        errors.print(f"  {line}", highlight=False, markup=False)
    errors.print(f"Again: {failure.command}", highlight=False, markup=False)


def _read(path: Path) -> set[int]:
    return {int(line) for line in path.read_text("utf-8").split()} if path.exists() else set()


def _remember(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{seed}\n")
