"""``banyan sim soak | kills | failures | year``: networks for long, and through what goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nodes.cli.output import AsJson, console, errors, one_sentence, print_json

SeedOption = Annotated[int, typer.Option(min=0, help="What is random follows from it.")]


def soak(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long.")] = 30,
    versions: Annotated[int, typer.Option(min=1, help="Versions that a child is away for.")] = 100,
    every: Annotated[float, typer.Option(min=1, help="Seconds between samples.")] = 10,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="A new folder for all of it.")] = Path("runs/soak"),
    json: AsJson = False,
) -> None:
    """Watch a network of real processes: memory, descriptors, disk, rounds; one child is away.

    The exit status is 1 when something grows, ends or stays open that should not. Writes soak.json
    and soak.png.

    Example: banyan sim soak --minutes 5 --versions 20
    """
    from simulations.soak.picture import draw
    from simulations.soak.soak import run_soak

    with one_sentence(), _interruptible():
        report = run_soak(
            out.resolve(),
            minutes=minutes,
            versions=versions,
            every_s=every,
            seed=seed,
            say=errors.print,
        )
        draw(report, out / "soak.png")
        _show(report, SOAK_COLUMNS, report["nodes"], json)


def kills(
    kills: Annotated[int, typer.Option(min=1, help="How many SIGKILLs.")] = 100,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between them, on average.")] = 4,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="A new folder for all of it.")] = Path("runs/kills"),
    json: AsJson = False,
) -> None:
    """Kill nodes of a running network at random moments; compare it with an undisturbed twin.

    The exit status is 1 when an update was lost or counted twice, a ledger does not verify, or the
    losses are apart. Writes kills.json.

    Example: banyan sim kills --kills 100 --seed 1
    """
    from simulations.soak.kills import run_kills

    with one_sentence(), _interruptible():
        report = run_kills(out.resolve(), kills=kills, every_s=every, seed=seed, say=errors.print)
        rows = [
            {"scope": scope, "killed": loss, "twin": report["losses"]["twin"][scope]}
            for scope, loss in report["losses"]["killed"].items()
        ]
        _show(report, KILLS_COLUMNS, rows, json)


def failures(
    only: Annotated[
        list[str] | None, typer.Option(help="A case, such as disk-full-root; may be repeated.")
    ] = None,
    limit: Annotated[float, typer.Option(min=5, help="Seconds to wait for a recovery.")] = 120,
    out: Annotated[Path, typer.Option(help="The folder of all of it.")] = Path("runs/failures"),
    json: AsJson = False,
) -> None:
    """Fill disks, set clocks, damage folders of real nodes, and tell what they say and do.

    Disks need root, clocks libfaketime; a case that cannot be tried says why. All of them take
    about half an hour. Writes failures.json and failures.md.

    Example: banyan sim failures --only disk-full-root --only second-daemon
    """
    from dataclasses import asdict

    from simulations.soak.failures import markdown, run_failures

    with one_sentence(), _interruptible():
        rows = run_failures(out.resolve(), only=only or (), recover_s=limit, say=errors.print)
        if json:
            print_json([asdict(row) for row in rows])
        else:
            console.print(markdown(rows), markup=False, highlight=False, soft_wrap=True)


def year(
    days: Annotated[int, typer.Option(min=1, help="How many days pass.")] = 400,
    size: Annotated[
        int, typer.Option(min=256, help="Values of an adapter; default: SmolLM2's.")
    ] = 368_640,
    seed: SeedOption = 0,
    out: Annotated[Path, typer.Option(help="A new folder for all of it.")] = Path("runs/year"),
    json: AsJson = False,
) -> None:
    """Let a year pass on a clock of its own: one release a day, every certificate ends on its way.

    The exit status is 1 when a node takes more disk than its policy allows, or something lapses.
    Writes year.json.

    Example: banyan sim year --days 100 --size 16384
    """
    import json as json_

    from nodes.errors import NodeError
    from simulations.soak.year import run_year
    from simulations.world.build import quiet

    with one_sentence(), _interruptible():
        quiet()
        if (out / "root").exists():
            raise NodeError("exists", f"{out} holds an earlier run; remove it or name another.")
        report = run_year(out.resolve(), days=days, size=size, seed=seed, say=errors.print)
        (out / "year.json").write_text(json_.dumps(report, indent=1), "utf-8")
        last = report["each_day"][-1]
        rows = [{"node": name, "disk": size / 1e6} for name, size in last["bytes"].items()]
        _show(report, YEAR_COLUMNS, rows, json)


YEAR_COLUMNS = {"node": "{node}", "disk MB on the last day": "{disk:.1f}"}
SOAK_COLUMNS = {
    "node": "{node}",
    "PSS MB": "{pss_mb:.0f}",
    "peak": "{pss_peak_mb:.0f}",
    "MB/h": "{slope_mb_per_hour:.1f}",
    "descriptors": "{descriptors_third:.0f} → {descriptors_last:.0f}",
    "disk MB": "{disk_mb:.2f}",
    "disk MB/h": "{disk_mb_per_hour:.2f}",
    "rounds": "{rounds}",
    "version": "{version}",
}
KILLS_COLUMNS = {"held-out loss": "{scope}", "killed": "{killed:.4f}", "twin": "{twin:.4f}"}


def _show(
    report: Mapping[str, Any], columns: Mapping[str, str], rows: list[dict[str, Any]], json: bool
) -> None:
    """Print a report; the exit status is 1 unless all its checks hold."""
    from simulations.tables import formatted

    if json:
        print_json(report)
    else:
        console.print(formatted("", columns, rows))
        for check in report["checks"]:
            mark, style = ("holds", "green") if check["holds"] else ("fails", "bold red")
            console.print(mark, style=style, end=" ")
            console.print(f"{check['name']}: {check['found']}", soft_wrap=True)
    if not report["passed"]:
        raise typer.Exit(1)


class _interruptible:  # noqa: N801  reads as the statement it is
    """Ctrl-C within it is said in a sentence; every process was ended by its supervisor."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt:
            errors.print("Interrupted; every node was stopped.")
            raise typer.Exit(130) from None
