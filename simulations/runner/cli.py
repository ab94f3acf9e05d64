"""``banyan sim``: run experiments on simulated networks, list them, report on them."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodes.cli.output import AsJson, console, errors, one_sentence, print_json
from simulations.tables import table

if TYPE_CHECKING:
    from simulations.experiment import Experiment

app = typer.Typer(help="Simulate whole networks: attacks, failures, scale.", no_args_is_help=True)

RUNS = Path("runs/sim")

_BARE = re.compile(r"[A-Za-z_./~][\w./:~-]*")
"""A value that needs no quotes: a name or a path."""

NameArgument = Annotated[
    str, typer.Argument(help="A bundled experiment (see `banyan sim list`) or a .toml file.")
]


@app.command("run")
def run(
    experiment: NameArgument,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder. Default: runs/sim/NAME, NAME-quick.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Set a setting, as in the file; wins over cases and sweeps. May be repeated.",
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="How many seeds, from 0; default: the file's.")
    ] = None,
    only: Annotated[str, typer.Option(help="Run the cells whose name contains this.")] = "",
    workers: Annotated[
        int | None, typer.Option(min=0, help="Cells at once; 0: as many as there are cores.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the cells, run none.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="The experiment's small version, for a first look.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Run an experiment; an interrupted run goes on where it stopped. Writes report.html.

    Cells that are done are not run again. The same seed gives the same result. The exit status is
    1 when a cell failed: the others are there, and the next run tries it again.

    Examples:
      banyan sim run byzantine --quick
      banyan sim run byzantine --set attack.fraction=0.1 --only flower:Krum --out runs/sim/tenth
      banyan sim run mine.toml --set 'rounds.pipeline=["median"]' --seeds 5 --workers 2
    """
    from simulations.experiment import load_experiment
    from simulations.processes import terminable
    from simulations.runner import run_experiment

    with one_sentence():
        overrides = dict(_assignment(text) for text in set_ or ())
        if seeds is not None:
            overrides["run.seeds"] = list(range(seeds))
        loaded = load_experiment(experiment, quick=quick, overrides=overrides)
        folder = out or RUNS / (f"{loaded.name}-quick" if quick else loaded.name)
        _check_only(loaded, only)
        if dry_run:
            _list_cells(loaded, folder, only, json)
            return
        try:
            with terminable():
                shown = errors if json else console
                outcome = run_experiment(loaded, folder, shown, workers=workers, only=only)
                report = folder / "report.html" if outcome.done else None
                if report:
                    write_report(folder)
        except KeyboardInterrupt:
            errors.print(f"Interrupted. The same command goes on; done cells are in {folder}.")
            raise typer.Exit(130) from None
        if json:
            failed = [failure.model_dump() for failure in outcome.failures]
            print_json(
                {"name": loaded.name, "folder": str(folder), "report": report and str(report)}
                | {"cells": outcome.cells, "done": outcome.done, "ran": outcome.ran}
                | {"set_aside": outcome.taken_over.aside, "failed": failed}
            )
        else:
            console.print(f"{outcome.done} of {outcome.cells} cells are done.", highlight=False)
            if report:
                console.print(f"The report is {report}", highlight=False, soft_wrap=True)
        if outcome.failures:
            errors.print(f"{len(outcome.failures)} failed; why is in {folder}/cells/*.failed.json.")
            raise typer.Exit(1)


@app.command("list")
def list_(json: AsJson = False) -> None:
    """The bundled experiments: what each asks, and how many cells it has.

    Example: banyan sim list
    """
    from simulations.experiment import bundled, first_sentence, load_experiment

    with one_sentence():
        experiments = [load_experiment(name) for name in bundled()]
        if json:
            keys = ("name", "question", "cells")
            rows = [(e.name, e.question, len(e.cells)) for e in experiments]
            print_json([dict(zip(keys, row, strict=True)) for row in rows])
            return
        shown = [(e.name, len(e.cells), first_sentence(e.question)) for e in experiments]
        columns = ("experiment", "cells", "question")
        console.print(table("", columns, shown, left=("question",), plain=True))


@app.command("report")
def report(
    folder: Annotated[Path, typer.Argument(help="A run's folder, finished or not.")],
) -> None:
    """Write a run's report again, from the cells that are done.

    Example: banyan sim report runs/sim/byzantine
    """
    from nodes.errors import NodeError

    with one_sentence():
        if not (folder / "cells").is_dir():
            raise NodeError("no-run", f"There is no run in {folder}.")
        write_report(folder)
        console.print(f"The report is {folder / 'report.html'}", highlight=False, soft_wrap=True)


def write_report(folder: Path) -> None:
    """Write the report of a run; it loads plotting libraries, so only when it is wanted."""
    importlib.import_module("simulations.report").write_report(folder)


def _assignment(text: str) -> tuple[str, Any]:
    """``rounds.f=2`` as path and value: TOML, but names and paths need no quotes.

    Raises ``NodeError`` ``usage``.
    """
    from nodes.errors import NodeError

    path, equals, value = (part.strip() for part in text.partition("="))
    try:
        parsed = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        parsed = {"value": value} if _BARE.fullmatch(value) else {}
    if not path or not equals or set(parsed) != {"value"}:
        raise NodeError("usage", f"--set takes PATH=VALUE, such as rounds.f=2; got {text!r}.")
    return path, parsed["value"]


def _check_only(experiment: Experiment, only: str) -> None:
    from nodes.errors import NodeError

    if not any(only in cell.name for cell in experiment.cells):
        raise NodeError("no-cells", f"No cell's name contains {only!r}; --dry-run lists them.")


def _list_cells(experiment: Experiment, folder: Path, only: str, json: bool) -> None:
    from simulations.experiment.folder import finished

    done = finished(folder, experiment.cells)
    cells = [cell for cell in experiment.cells if only in cell.name]
    if json:
        print_json(
            [
                {
                    "id": cell.id,
                    "name": cell.name,
                    "vary": dict(cell.vary),
                    "settings": cell.settings.model_dump(mode="json"),
                    "done": cell.id in done,
                }
                for cell in cells
            ]
        )
        return
    rows = []
    for cell in cells:
        devices, rounds = cell.settings.topology.device_count, cell.settings.run.rounds
        state = "done" if cell.id in done else ""
        rows.append((cell.id, cell.name, f"{devices:,}", rounds, state))
    columns = ("id", "cell", "devices", "rounds", "")
    console.print(table("", columns, rows, left=("cell", ""), plain=True))
    console.print(f"{len(cells)} cells, {len(done)} done, in {folder}", highlight=False)
