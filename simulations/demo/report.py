"""The demo's result: measured once more from what lies on disk, as a table and as JSON.

Loss before and after is measured on held-out text that no node ever saw, from each scope's state
folder. Counts come from the ledgers, bytes from the links, those of artefacts from what each node
counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from nodes.dashboard.status import Status, StatusReader
from nodes.machine.clock import SystemClock
from nodes.peers.artefacts.traffic import FILE as TRAFFIC_FILE
from nodes.peers.artefacts.traffic import read_traffic
from nodes.serving.held import held
from nodes.state.home import open_home
from protocol import Role, Scope
from simulations.demo.network import Placed
from simulations.demo.plan import UNSEEN, Corpus, held_out
from simulations.tables import table

HEALTH = Scope.parse("/en/healthcare")


def measure(
    base: Path, placed: Sequence[Placed], corpus: Corpus, count: int
) -> list[dict[str, Any]]:
    """Held-out loss of every scope with the base and with its effective model.

    Nats per token, the mean over documents; for ``/en/healthcare`` also on the unseen system.
    """
    import torch

    from nodes.model.basis import from_bytes
    from nodes.model.effective import EffectiveModel

    torch.set_num_threads(2)
    scopes = [p for p in placed if p.plan.role is not Role.DEVICE]
    root = open_home(scopes[0].folder, SystemClock().now_ms())
    model = EffectiveModel(base, root.layout, from_bytes(root.basis_file.read_bytes(), root.layout))
    rows = []
    base_losses: dict[str, float] = {}

    def of_base(texts: list[str]) -> list[float]:
        """Each text's loss with the base; measured once."""
        if missing := [t for t in texts if t not in base_losses]:
            model.set_theta(np.zeros(root.layout.size, np.float32))
            base_losses.update(zip(missing, model.sequence_losses(missing)[0], strict=True))
        return [base_losses[t] for t in texts]

    for place in scopes:
        here = held(open_home(place.folder, SystemClock().now_ms()))
        sets = [(str(place.plan.scope), held_out(corpus, place.plan.scope, count))]
        if place.plan.scope == HEALTH:
            sets.append((f"{HEALTH}, unseen {UNSEEN}", corpus[UNSEEN]["held"][:count]))
        for name, texts in sets:
            before = float(np.mean(of_base(texts)))
            model.set_theta(here.theta)
            after = float(model.sequence_losses(texts)[0].mean())
            rows.append(
                {
                    "scope": str(place.plan.scope),
                    "text": name,
                    "documents": len(texts),
                    "version": here.version,
                    "before": before,
                    "after": after,
                    "gain": before - after,
                }
            )
    return rows


def hostile_summary(placed: Sequence[Placed], statuses: Mapping[Scope, Status]) -> dict[str, Any]:
    """What became of everything that the malicious device and the intruder sent.

    Doors are those where they knock: at others a node that is too slow for its parent's deadline is
    told that nobody waits for its answer any more.
    """
    attacked = {p.plan.scope for p in placed if p.plan.malicious}
    malicious = {open_home(p.folder, SystemClock().now_ms()).id for p in placed if p.plan.malicious}
    refused: Counter[str] = Counter()
    outvoted = counted = 0
    door: Counter[str] = Counter()
    for scope, status in statuses.items():
        for child in malicious:
            refused.update(status.refused_by_child.get(child, {}))
            outvoted += status.outvoted[child]
            counted += status.counted[child]
        if scope in attacked:
            door.update(status.door)
    return {
        "refused": dict(refused),
        "outvoted": outvoted,
        "counted": counted,
        "at_the_door": dict(door),
    }


def compose(
    *,
    placed: Sequence[Placed],
    losses: list[dict[str, Any]],
    seconds: Mapping[str, float],
    peak_bytes: int,
    folder: Path,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything the demo reports; ``docs/demo-report.schema.json`` describes it."""
    read = {p.plan.name: StatusReader(p.folder).read() for p in placed}
    moved = artefacts(placed)
    statuses = {p.plan.scope: read[p.plan.name] for p in placed if p.plan.role is not Role.DEVICE}
    return {
        "format": 1,
        "options": dict(options),
        "losses": losses,
        "nodes": [_node(p, read[p.plan.name], moved[p.plan.name], folder) for p in placed],
        "hostile": hostile_summary(placed, statuses),
        "artefacts": totals(placed, moved),
        "bytes_on_the_wire": sum(s.bytes_in + s.bytes_out for s in statuses.values()),
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "peak_memory_bytes": peak_bytes,
    }


def artefacts(placed: Sequence[Placed]) -> dict[str, dict[str, dict[str, int]]]:
    """Bytes of artefacts that each node gave and took, by whom: what each counted itself."""
    ids = {open_home(p.folder, SystemClock().now_ms()).id: p.plan.name for p in placed}
    return {
        p.plan.name: {
            side: {ids.get(node, node): count for node, count in counts.items()}
            for side, counts in read_traffic(p.folder / TRAFFIC_FILE).items()
        }
        for p in placed
    }


def totals(
    placed: Sequence[Placed], moved: Mapping[str, Mapping[str, Mapping[str, int]]]
) -> dict[str, int]:
    """Bytes of artefacts that were taken from the root, from other parents and from siblings."""
    plans = {p.plan.name: p.plan for p in placed}
    counts = dict.fromkeys(("root", "parents", "siblings"), 0)
    for name, plan in plans.items():
        for giver, count in moved[name]["taken"].items():
            is_parent = plans[giver].role is not Role.DEVICE
            is_parent &= plans[giver].scope == plan.parent_scope
            kind = "parents" if plans[giver].parent_scope is not None else "root"
            counts[kind if is_parent else "siblings"] += count
    return counts


def _node(
    place: Placed, status: Status, moved: Mapping[str, Mapping[str, int]], folder: Path
) -> dict[str, Any]:
    plan = place.plan
    same = ("version", "accepted", "late", "bytes_in", "bytes_out", "trained_tokens")
    return {
        "name": plan.name,
        "scope": str(plan.scope),
        "role": plan.role.value,
        "malicious": plan.malicious,
        **{name: getattr(status, name) for name in same},
        "releases": dict(status.releases),
        "outvoted": sum(status.outvoted.values()),
        "refused": dict(status.refused),
        "at_the_door": dict(status.door),
        "artefacts": {side: dict(counts) for side, counts in moved.items()},
        "trained_seconds": round(status.trained_seconds, 2),
        "log": str(place.folder.relative_to(folder) / "logs" / "node.jsonl"),
    }


def print_report(console: Console, report: Mapping[str, Any], folder: Path) -> None:
    """The same for a person."""
    rows = [
        [row[key] for key in ("text", "documents", "version")]
        + [f"{row['before']:.3f}", f"{row['after']:.3f}", f"{row['gain']:.3f}"]
        for row in report["losses"]
    ]
    columns = ("text", "documents", "version", "base", "now", "gain")
    console.print(table("Held-out loss, nats per token", columns, rows, plain=True))
    rows = []
    for node in report["nodes"]:
        if node["role"] == "device":
            continue
        reasons = node["refused"] | {f"{code} (door)": n for code, n in node["at_the_door"].items()}
        rows.append([node[key] for key in ("scope", "accepted", "late", "outvoted")])
        rows[-1].append(_counts(reasons) or "–")
    of_scopes = ("scope", "accepted", "late", "outvoted", "refused")
    console.print(table("\nUpdates", of_scopes, rows, left=("refused",), plain=True))
    _print_artefacts(console, report)
    hostile, seconds = report["hostile"], report["seconds"]
    if report["options"]["attack"]:
        reasons = hostile["refused"] | hostile["at_the_door"] | {"outvoted": hostile["outvoted"]}
        console.print(
            f"\nFrom the malicious device and the intruder: {_counts(reasons)}; "
            f"{hostile['counted']} counted.",
            highlight=False,
        )
    console.print(
        f"\n{report['bytes_on_the_wire'] / 1e6:.1f} MB of tasks, updates and releases · "
        f"{seconds['total']:.0f} s (join {seconds['join']:.0f}, "
        f"network {seconds['network']:.0f}, measure {seconds['measure']:.0f}) · "
        f"peak memory {report['peak_memory_bytes'] / 2**30:.2f} GiB\n"
        f"Report {folder / 'report.json'} · logs {folder / 'nodes'}/*/logs/node.jsonl",
        highlight=False,
    )


def _print_artefacts(console: Console, report: Mapping[str, Any]) -> None:
    nodes = {node["name"]: node for node in report["nodes"]}

    def side(node: Mapping[str, Any], name: str) -> list[str]:
        counts = node["artefacts"][name]
        whom = (f"{_short(nodes[other])} {_mb(n)}" for other, n in counts.items())
        return [_mb(sum(counts.values())), ", ".join(sorted(whom)) or "–"]

    rows = [
        ["  " * _depth(node) + _short(node), *side(node, "given"), *side(node, "taken")]
        for node in sorted(nodes.values(), key=lambda node: (node["scope"], node["name"]))
    ]
    columns = ("node", "gave", "to", "took", "from")
    title = "\nArtefacts (base, coordinates, adapters) given and taken, MB"
    console.print(table(title, columns, rows, left=("to", "from"), plain=True))
    given = report["artefacts"]
    console.print(
        f"\nOf {_mb(sum(given.values()))} MB of artefacts the root gave {_mb(given['root'])}, "
        f"other parents {_mb(given['parents'])}, siblings {_mb(given['siblings'])}.",
        highlight=False,
    )


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f}"


def _depth(node: Mapping[str, Any]) -> int:
    return Scope.parse(str(node["scope"])).tier + int(node["role"] == "device")


def _short(node: Mapping[str, Any]) -> str:
    """The last part of a scope; of a device, what its name has beyond its scope's."""
    scope = node["scope"].strip("/")
    if node["role"] == "device":
        return str(node["name"]).removeprefix(scope.replace("/", "-") + "-")
    return scope.rpartition("/")[2] or "/"


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(reasons.items()) if count)
