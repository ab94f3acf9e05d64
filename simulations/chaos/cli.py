"""``banyan sim chaos``: break a network of production nodes in every way that its seed says."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodes.cli.output import AsJson, console, errors, one_sentence, print_json

if TYPE_CHECKING:
    from simulations.chaos.run import Result

PASSED = Path("runs/chaos")
SAY_EVERY = 20
"""Seeds from one line of progress to the next."""


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
    from simulations.chaos.run import run
    from simulations.processes import results

    with one_sentence():
        passed = PASSED / f"steps-{steps}.txt"
        known = set() if fresh or seeds == 1 else _read(passed)
        todo = [number for number in range(seed, seed + seeds) if number not in known]
        if len(todo) < seeds:
            errors.print(f"{seeds - len(todo)} seeds passed before; --fresh runs them again.")
        found: list[Result] = []
        started = time.monotonic()
        try:
            count = min(workers or os.cpu_count() or 1, len(todo))
            for result in results(partial(run, steps=steps), todo, count):
                found.append(result)
                if result.failure:
                    _tell(result)
                elif seeds > 1:
                    _remember(passed, result.seed)
                if len(found) % SAY_EVERY == 0:
                    left = (time.monotonic() - started) / len(found) * (len(todo) - len(found))
                    errors.print(f"{len(found)} of {len(todo)} seeds, {left / 60:.0f} min left")
        except KeyboardInterrupt:
            errors.print(f"Interrupted after {len(found)} seeds. The same command goes on.")
            raise typer.Exit(130) from None
        failed = [result for result in found if result.failure]
        if json:
            print_json(
                {
                    "seeds": seeds,
                    "passed_before": seeds - len(todo),
                    "failed": [asdict(result) for result in failed],
                    "last": asdict(found[-1]) if found else None,
                }
            )
        else:
            if seeds == 1:
                (only,) = found
                console.print(
                    f"trace {only.digest}\n{only.steps} steps, {only.seconds:.1f} s",
                    highlight=False,
                    soft_wrap=True,
                )
            console.print(f"{seeds - len(failed)} of {seeds} seeds pass.", highlight=False)
        if failed:
            raise typer.Exit(1)


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
