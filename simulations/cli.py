"""``banyan demo | sim | bench``: what the entry points in pyproject.toml name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodes.cli.output import AsJson, console, errors, one_sentence, print_json
from simulations.chaos.cli import chaos
from simulations.experiment import cli as experiment

bench = typer.Typer(help="Run benchmarks against other libraries.", no_args_is_help=True)
sim = experiment.app
sim.command("chaos")(chaos)

BaseOption = Annotated[
    Path | None, typer.Option(help="A base folder; default: SmolLM2, converted on first use.")
]
CACHE = Path("runs/base")
COORDINATES = Path("runs/coordinates.jsonl")


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="A tiny model, under 90 seconds.")] = False,
    no_attack: Annotated[
        bool, typer.Option("--no-attack", help="The same network without the attacker.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The demo's folder; it is replaced.")] = Path(
        "runs/demo"
    ),
    json: AsJson = False,
) -> None:
    """Run a whole network here: four tiers, real text, a real attacker, signed releases.

    Examples:
      banyan demo --quick
      banyan demo --no-attack --out runs/calm
    """
    from simulations.demo.run import run_demo

    with one_sentence():
        try:
            shown = errors if json else console
            report = run_demo(out.resolve(), quick=quick, attack=not no_attack, console=shown)
        except KeyboardInterrupt:
            errors.print("Interrupted; every node was stopped.")
            raise typer.Exit(130) from None
        if json:
            print_json(report)


@bench.command("training")
def training(
    base: BaseOption = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of one repetition.")] = 6,
    batch_size: Annotated[int, typer.Option(min=1, help="Documents in a batch.")] = 8,
    repeats: Annotated[int, typer.Option(min=1, help="Repetitions; medians are shown.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each contestant.")] = 2,
    budget: Annotated[float, typer.Option(help="Seconds for one repetition of one.")] = 120,
    json: AsJson = False,
) -> None:
    """Compare the learner with transformers.Trainer + PEFT LoRA, tokens/s without padding.

    Example: banyan bench training --repeats 5
    """
    from simulations.bench import training as race
    from simulations.datasets.smollm2 import smollm2_base

    with one_sentence():
        result = race.run(
            base or smollm2_base(CACHE),
            steps=steps,
            batch_size=batch_size,
            repeats=repeats,
            threads=threads,
            budget_s=budget,
        )
        print_json(result) if json else race.print_table(result)


@bench.command("coordinates")
def coordinates(
    base: BaseOption = None,
    out: Annotated[
        Path, typer.Option(help="Results, one a line; goes on where it stopped.")
    ] = Path("runs/coordinates.jsonl"),
    json: AsJson = False,
) -> None:
    """Compare ways to parametrise an adapter, alone and averaged over children. Takes an hour.

    Example: banyan bench coordinates --out runs/coordinates.jsonl
    """
    from simulations.bench import coordinates as comparison
    from simulations.datasets.hpo import definitions
    from simulations.datasets.icd10 import names
    from simulations.datasets.smollm2 import smollm2_base

    with one_sentence():
        sources = {
            "nervous": definitions("nervous"),
            "cardiovascular": definitions("cardiovascular"),
            "Spanish circulatory": names("es", "circulatory"),
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        result = comparison.run(base or smollm2_base(CACHE), sources, out)
        print_json(result) if json else comparison.print_table(result)


@bench.command("aggregation")
def aggregation(
    size: Annotated[int, typer.Option(min=1, help="Values of one update.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each; medians are shown.")] = 5,
    only: Annotated[
        list[str] | None, typer.Option(help="A pipeline, as in the table; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Time every robust rule beside Flower's strategies and ByzFL. Takes about ten minutes.

    Example: banyan bench aggregation --size 200000 --repeats 3 --only trimmed_mean --only krum
    """
    from simulations.bench import aggregation as race

    with one_sentence():
        result = race.run(
            size, repeats, only or (), on_timing=lambda t: errors.print(race.one_line(t))
        )
        print_json(result) if json else race.print_table(result)


@bench.command("robustness")
def robustness(
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the data.")] = 10,
    only: Annotated[
        list[str] | None, typer.Option(help="A pipeline, as in the table; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Let attackers that know everything pull at every pipeline, ours, ByzFL's and Flower's.

    All of them take about forty minutes on two cores.

    Example: banyan bench robustness --seeds 2 --only "arc centred_clipping" --only trimmed_mean
    """
    from simulations.bench import robustness as siege

    with one_sentence():
        result = siege.run(seeds, only or (), on_result=lambda r: errors.print(siege.one_line(r)))
        print_json(result) if json else siege.print_table(result)


@bench.command("capture")
def capture(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only what the goal is about, in seconds.")
    ] = False,
    size: Annotated[int | None, typer.Option(min=4000, help="Length of an update.")] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Seeds of every case.")] = None,
    json: AsJson = False,
) -> None:
    """Measure how far colluders get in a tree, with and without the audit and other defences.

    The whole table takes about seven minutes.

    Example: banyan bench capture --quick
    """
    from dataclasses import asdict

    from simulations.capture import honest, run
    from simulations.capture.table import print_table

    with one_sentence():
        rows = run(quick=quick, size=size, seeds=seeds)
        alarms = [] if quick else honest.measure()
        if json:
            print_json({"rows": [asdict(r) for r in rows], "honest": [asdict(a) for a in alarms]})
        else:
            print_table(rows)
            honest.print_table(alarms)


@bench.command("refusal")
def refusal(
    base: BaseOption = None,
    out: Annotated[
        Path,
        typer.Option(help="Adapter, probe files, report; what is already trained is used again."),
    ] = Path("runs/refusal"),
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the training.")] = 0,
    attacks: Annotated[
        bool, typer.Option(help="Also train attackers and ask the probes about them.")
    ] = True,
    learns: Annotated[
        str, typer.Option(help="Organ system that attackers and the honest child learn.")
    ] = "cardiovascular",
    json: AsJson = False,
) -> None:
    """Teach the base to decline harmful requests, and measure who takes that away.

    The adapter takes about half an hour on two cores, the candidates as long again.

    Examples:
      banyan bench refusal --no-attacks
      banyan bench refusal --learns eye
    """
    from dataclasses import replace

    from simulations.bench import refusal as bench_refusal
    from simulations.datasets.smollm2 import smollm2_base
    from simulations.refusal import Settings

    with one_sentence():
        settings = replace(Settings(), seed=seed, **({"steps": steps} if steps else {}))
        result = bench_refusal.run(
            base or smollm2_base(CACHE),
            out,
            settings,
            bench_refusal.Scale(learns=learns),
            attacks=attacks,
            say=errors.print,
        )
        print_json(result) if json else bench_refusal.print_table(result)


@bench.command("forgetting")
def forgetting(
    base: BaseOption = None,
    out: Annotated[
        Path, typer.Option(help="Report and picture; what is already computed is used again.")
    ] = Path("runs/forgetting"),
    quick: Annotated[
        bool, typer.Option(help="A tiny base, three systems: the same in half a minute.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="A learner, such as full or FedAvg; may be given again. All by default."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Measure what is forgotten when organ systems are learned one after another.

    One device learns them all, or children who are online one after another: plainly, with replay,
    and with all that a node does. Takes about two hours on two cores; goes on where it stopped.

    Examples:
      banyan bench forgetting --quick
      banyan bench forgetting --only full --only FedAvg
    """
    from simulations.bench import forgetting as bench_forgetting
    from simulations.datasets.smollm2 import smollm2_base
    from simulations.datasets.tiny import tiny_base

    with one_sentence():
        base = base or (tiny_base(CACHE) if quick else smollm2_base(CACHE))
        out = out / "quick" if quick else out
        scale = bench_forgetting.QUICK if quick else bench_forgetting.Scale()
        result = bench_forgetting.run(base, out, scale, errors.print, only or ())
        print_json(result) if json else bench_forgetting.print_table(result)


@bench.command("gate")
def gate(
    histories: Annotated[
        int, typer.Option(min=5, help="Histories of 200 gates; the rest goes with it.")
    ] = 500,
    seed: Annotated[int, typer.Option(help="Everything follows from it.")] = 0,
    json: AsJson = False,
) -> None:
    """Measure what the gate lets through: false promotions, power, adaptive candidates.

    Takes about two minutes.

    Example: banyan bench gate --histories 100
    """
    from simulations.bench import gate as trial

    with one_sentence():
        result = trial.run(histories, seed)
        print_json(result) if json else trial.print_table(result)
