"""``banyan demo | sim | bench``: what the entry points in pyproject.toml name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from nodes.cli.output import AsJson, console, errors, one_sentence, print_json
from simulations.chaos.cli import chaos
from simulations.runner import cli as runner
from simulations.soak.cli import failures, kills, soak, year

bench = typer.Typer(help="Run benchmarks against other libraries.", no_args_is_help=True)
sim = runner.app
sim.command("chaos")(chaos)
sim.command("soak")(soak)
sim.command("kills")(kills)
sim.command("failures")(failures)
sim.command("year")(year)

BaseOption = Annotated[
    Path | None, typer.Option(help="A base folder; default: SmolLM2, converted on first use.")
]
OnlyOption = Annotated[
    list[str] | None, typer.Option(help="A pipeline, as in the table; may be repeated.")
]
CACHE = Path("runs/base")


def _show(result: Any, tables: Callable[[Any], Iterable[Any]], json: bool) -> None:
    if json:
        print_json(result)
        return
    for part in tables(result):
        console.print(part)


def demo(
    quick: Annotated[bool, typer.Option("--quick", help="A tiny model, under 90 seconds.")] = False,
    no_attack: Annotated[
        bool, typer.Option("--no-attack", help="The same network without the attacker.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The demo's folder; it is replaced.")] = Path(
        "runs/demo"
    ),
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Stop when the process that started this ends.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Run a whole network here: four tiers, real text, a real attacker, signed releases.

    Examples:
      banyan demo --quick
      banyan demo --no-attack --out runs/calm
    """
    from contextlib import nullcontext

    from simulations.demo.run import run_demo
    from simulations.processes import ending_with_parent

    with one_sentence(), ending_with_parent() if with_parent else nullcontext():
        try:
            shown = errors if json else console
            report = run_demo(out.resolve(), quick=quick, attack=not no_attack, console=shown)
        except KeyboardInterrupt:
            errors.print("Interrupted; every node was stopped.")
            raise typer.Exit(130) from None
        if json:
            print_json(report)


@bench.command("aggregation")
def aggregation(
    size: Annotated[int, typer.Option(min=1, help="Values of one update.")] = 1_000_000,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each; medians are shown.")] = 5,
    only: OnlyOption = None,
    json: AsJson = False,
) -> None:
    """Time every robust rule beside Flower's strategies and ByzFL. Takes about ten minutes.

    Example: banyan bench aggregation --size 200000 --repeats 3 --only trimmed_mean --only krum
    """
    from simulations.bench import aggregation as timing

    with one_sentence():
        result = timing.run(size, repeats, only or (), say=errors.print)
        _show(result, timing.tables, json)


@bench.command("robustness")
def robustness(
    seeds: Annotated[int, typer.Option(min=1, help="Draws of the data.")] = 10,
    only: OnlyOption = None,
    json: AsJson = False,
) -> None:
    """Let attackers that know everything pull at every pipeline, ours, ByzFL's and Flower's.

    All of them take about forty minutes on two cores.

    Example: banyan bench robustness --seeds 2 --only "arc centred_clipping" --only trimmed_mean
    """
    from simulations.bench import robustness as attacked

    with one_sentence():
        result = attacked.run(seeds, only or (), say=errors.print)
        _show(result, attacked.tables, json)


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
    from simulations import capture as captured
    from simulations.capture import honest

    with one_sentence():
        rows = captured.run(quick=quick, size=size, seeds=seeds)
        alarms = [] if quick else honest.measure()
        result = {"rows": [asdict(r) for r in rows], "honest": [asdict(a) for a in alarms]}
        _show(result, lambda _: [*captured.tables(rows), *honest.tables(alarms)], json)


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
    from simulations.bench import refusal as measured
    from simulations.datasets.smollm2 import smollm2_base
    from simulations.refusal import RefusalTraining

    with one_sentence():
        settings = replace(RefusalTraining(), seed=seed, **({"steps": steps} if steps else {}))
        scale, base = measured.RefusalScale(learns=learns), base or smollm2_base(CACHE)
        result = measured.run(base, out, settings, scale, attacks=attacks, say=errors.print)
        _show(result, measured.tables, json)


@bench.command("forgetting")
def forgetting(
    base: BaseOption = None,
    out: Annotated[
        Path, typer.Option(help="Report; what is already computed is used again.")
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
    from simulations.bench import forgetting as measured
    from simulations.datasets.smollm2 import smollm2_base
    from simulations.datasets.tiny import tiny_base

    with one_sentence():
        base = base or (tiny_base(CACHE) if quick else smollm2_base(CACHE))
        out = out / "quick" if quick else out
        scale = measured.QUICK if quick else measured.ForgettingScale()
        result = measured.run(base, out, scale, errors.print, only or ())
        _show(result, measured.tables, json)


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
        _show(trial.run(histories, seed), trial.tables, json)


@bench.command("swarm")
def swarm(
    receivers: Annotated[int, typer.Option(min=2, help="Members that fetch at once.")] = 32,
    megabytes: Annotated[float, typer.Option(min=0.1, help="Size of the artefact.")] = 100.0,
    rate: Annotated[float, typer.Option(min=0.1, help="MB a second that each may send.")] = 4.0,
    only: Annotated[
        list[str] | None, typer.Option(help="A case, as in the table; may be repeated.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Bring one artefact to many members of a circle: by swarm, and over gRPC alone.

    Every member is a process. All of it takes about seven minutes.

    Example: banyan bench swarm --receivers 8 --megabytes 20 --only swarm
    """
    from simulations.bench import swarm as carried

    with one_sentence():
        size, most = round(megabytes * 1e6), round(rate * 1e6)
        result = carried.measure(receivers, size, most, only or (), say=errors.print)
        _show(result, carried.tables, json)


@bench.command("children")
def children(
    count: Annotated[
        list[int] | None, typer.Option(min=1, help="How many children; may be repeated.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Rounds of each number of children.")] = 4,
    settle: Annotated[
        float, typer.Option(min=1, help="Seconds of rest before settled memory is measured.")
    ] = 40.0,
    json: AsJson = False,
) -> None:
    """Let more and more thin children answer one parent: time, memory, CPU, and who fails.

    The parent is a daemon of its own, over TLS; the children learn nothing, and all else is real:
    links, keys, envelopes of 1 MB, the chain. All of it takes about ten minutes on two cores.

    Examples:
      banyan bench children
      banyan bench children --count 200 --rounds 3
    """
    from simulations.bench import children as measured

    with one_sentence():
        scale = measured.ChildrenScale(rounds=rounds, settle_s=settle)
        if count:
            scale = replace(scale, counts=tuple(count))
        _show(measured.run(scale, CACHE, say=errors.print), measured.tables, json)
