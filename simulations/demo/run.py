"""Running the demo: let every node join, watch the ledgers, stop everything, report."""

from __future__ import annotations

import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from nodes.daemon import run
from nodes.dashboard.status import StatusReader
from nodes.dashboard.tree import read_tree
from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.machine.process_memory import MemorySampler
from protocol import Role
from simulations.datasets.smollm2 import smollm2_base
from simulations.datasets.tiny import tiny_base
from simulations.demo.hostile import run_hostile
from simulations.demo.intruder import intrude
from simulations.demo.joining import Joining
from simulations.demo.live import Progress
from simulations.demo.network import Placed, place
from simulations.demo.plan import FULL, QUICK, DemoScale, demo_corpus, plan_nodes
from simulations.demo.report import compose, measure, print_report
from simulations.processes import ONE_THREAD, Supervisor, terminable

WATCH_S = 1.0
ENVIRONMENT = ONE_THREAD | {"MALLOC_ARENA_MAX": "2", "TOKENIZERS_PARALLELISM": "false"}


def run_demo(folder: Path, *, quick: bool, attack: bool, console: Console) -> dict[str, Any]:
    """Run the whole demo below ``folder`` and return its report.

    Raises ``NodeError``: ``node-died``, ``demo-timeout``; every process is ended before that.
    """
    started = time.monotonic()
    settings = QUICK if quick else FULL
    _clear(folder)
    corpus = demo_corpus(seed=0)
    console.print("Preparing the base; then every node joins at its parent …")
    base = (tiny_base if quick else smollm2_base)(folder.parent / "base")
    plans = plan_nodes(corpus, settings, attack=attack)
    placed = place(folder / "nodes", plans)
    with (
        terminable(),
        Supervisor(ENVIRONMENT, "simulations.demo.preload") as supervisor,
        MemorySampler(lambda: supervisor.pids, every_s=5) as sampler,
    ):
        start, check = partial(_start, supervisor), partial(_check, supervisor)
        joining = Joining(base, settings, console, began=started, start=start, check=check)
        joining.run(placed)
        joined = time.monotonic()
        if attack:
            _start_intruder(supervisor, placed, folder)
        _watch(supervisor, placed, settings, console, started)
    finished = time.monotonic()
    console.print("Measuring on held-out text …")
    losses = measure(base, placed, corpus, settings.held)
    ended = time.monotonic()
    report = compose(
        placed=placed,
        losses=losses,
        seconds={
            "join": joined - started,
            "network": finished - joined,
            "measure": ended - finished,
            "total": ended - started,
        },
        peak_bytes=sampler.peak,
        folder=folder,
        options={"quick": quick, "attack": attack},
    )
    text = json.dumps(report, indent=2, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", "utf-8")
    print_report(console, report, folder)
    return report


def _clear(folder: Path) -> None:
    """Make room: a demo's folder is replaced, anything else is left alone."""
    if folder.exists():
        ours = (folder / "nodes").is_dir() or not any(folder.iterdir())
        if not ours:
            raise NodeError("not-a-demo", f"{folder} holds something else; choose another --out.")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _start(supervisor: Supervisor, node: Placed) -> None:
    target = run_hostile if node.plan.malicious else run
    log = node.folder / "logs" / "console.log"
    supervisor.start(target, node.folder / "node.toml", log=log).name = node.plan.name


def _start_intruder(supervisor: Supervisor, placed: list[Placed], folder: Path) -> None:
    bad = next(p for p in placed if p.plan.malicious)
    parent = next(
        p for p in placed if p.plan.scope == bad.plan.scope and p.plan.role is not Role.DEVICE
    )
    out = folder / "intruder"
    haul, log = out / "haul.json", out / "console.log"
    supervisor.start(intrude, parent.address, bad.folder, haul, log=log).name = "intruder"


def _check(supervisor: Supervisor) -> None:
    for process in supervisor.processes:
        if process.exitcode:
            what = f"{process.name} ended with status {process.exitcode}; see its log."
            raise NodeError("node-died", what)


def _watch(
    supervisor: Supervisor,
    placed: list[Placed],
    settings: DemoScale,
    console: Console,
    began: float,
) -> None:
    """Until every sub-domain has its releases and every tier above at least one."""
    readers = {
        p.plan.scope: StatusReader(p.folder) for p in placed if p.plan.role is not Role.DEVICE
    }
    goal = {s: settings.releases if s.tier == 3 else 1 for s in readers}
    deadline = time.monotonic() + settings.limit_s
    tree = partial(read_tree, placed[0].folder, SystemClock())
    with Progress(console, goal, began, tree) as progress:
        while True:
            _check(supervisor)
            statuses = {scope: reader.read() for scope, reader in readers.items()}
            progress.update(statuses)
            if all(statuses[s].releases["round"] >= goal[s] for s in goal):
                return
            if time.monotonic() > deadline:
                late = ", ".join(str(s) for s in goal if statuses[s].releases["round"] < goal[s])
                raise NodeError(
                    "demo-timeout",
                    f"After {settings.limit_s:.0f} s these have too few releases: {late}. "
                    "Their logs say why.",
                )
            time.sleep(WATCH_S)
