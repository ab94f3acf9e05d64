"""Runs as the simulator writes them: made up, but of the right shapes and sizes.

Losses fall from a base toward an optimum; an attack takes a share of that away. Everything follows
from the cells' seeds.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

Record = dict[str, Any]

SYSTEMS = ("cardiovascular", "nervous", "eye", "immune", "skin", "respiratory")
VERSIONS = {
    "banyan": "0.1.0",
    "flwr": "1.41.0",
    "torch": "2.9.0",
    "numpy": "2.3.0",
    "python": "3.11.7",
}
KEPT = {
    ("fedavg", "sign_flip"): 0.31,
    ("fedavg", "alie"): 0.05,
    ("fedavg", "gaussian"): -2.4,
    ("fedavg", "ipm"): -31.0,
    ("flower:FedTrimmedAvg", "sign_flip"): 0.88,
    ("flower:FedTrimmedAvg", "alie"): 0.41,
    ("flower:FedTrimmedAvg", "gaussian"): 0.93,
    ("flower:FedTrimmedAvg", "ipm"): 0.62,
}


def tree(languages: int, domains: int, subdomains: int, devices: int, bad: float) -> Record:
    """The topology record of a tree with the last of each scope's devices hostile."""
    nodes: list[Record] = []

    def add(parent: int | None, scope: str, tier: str, name: str, attacker: bool = False) -> int:
        id_ = len(nodes)
        node = {"id": id_, "parent": parent, "scope": scope, "tier": tier, "name": name}
        nodes.append({**node, "attacker": attacker, "rank": 16, "speed": 1.0, "domain": "x"})
        return id_

    root = add(None, "/", "root", "root")
    for language in ("en", "de", "es", "fr")[:languages]:
        of_language = add(root, f"/{language}", "language", language)
        for number in range(domains):
            domain = f"/{language}/{('healthcare', 'law', 'trade')[number % 3]}"
            of_domain = add(of_language, domain, "domain", domain)
            for place in range(subdomains):
                scope = f"{domain}/{SYSTEMS[place % 6]}{place // 6 or ''}"
                below = add(of_domain, scope, "subdomain", scope)
                for device in range(devices):
                    hostile = device >= devices - round(bad * devices)
                    add(below, scope, "device", f"device-{device}", hostile)
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node["tier"]] = counts.get(node["tier"], 0) + 1
    return {"kind": "topology", "nodes": nodes if len(nodes) <= 400 else [], "counts": counts}


def lowest(topology: Record) -> list[tuple[str, str]]:
    """Scope and tier of every scope; a few of each tier when nodes are not listed."""
    listed = [(n["scope"], n["tier"]) for n in topology["nodes"] if n["tier"] != "device"]
    return listed or [("/", "root"), ("/en", "language"), ("/en/a", "subdomain")]


def curve(
    random: Random, topology: Record, rounds: int, *, kept: float, pace: float, gain: float = 0.9
) -> list[Record]:
    """Rounds, losses and traffic: losses go toward base − kept·gain with the tier's own speed."""
    records: list[Record] = []
    height = {"root": 0.55, "language": 0.7, "domain": 0.85, "subdomain": 1.0}
    for number in range(rounds + 1):
        at_s = number * pace
        for scope, tier in lowest(topology):
            base, best = 4.2 + 0.02 * len(scope), 3.0 + 0.02 * len(scope)
            fallen = height.get(tier, 1.0) * gain * kept * (1 - math.exp(-4 * number / rounds))
            loss = min(base - fallen + random.gauss(0, 0.01) * (number > 0), 1e9)
            records.append(
                {"kind": "loss", "at_s": at_s, "round": number, "scope": scope, "tier": tier}
                | {"loss": loss, "base": base, "best": best}
            )
            if number:
                bad = random.randrange(4)
                records.append(
                    {"kind": "round", "at_s": at_s, "scope": scope, "tier": tier, "round": number}
                    | {
                        "outcome": random.choices(
                            ("released", "refused-by-gate", "void"), (12, 3, 1)
                        )[0],
                        "version": number,
                        "step": 1.0,
                        "accepted": 7 + random.randrange(3),
                        "outvoted": bad,
                        "stand_ins": random.randrange(2),
                        "late": random.randrange(2),
                        "refused": {"not-finite": bad // 2, "stale": random.randrange(2)},
                        "seconds": pace * random.uniform(0.6, 1.2),
                    }
                )
        traffic = {"up_bytes": 90_000 * number, "down_bytes": 140_000 * number}
        messages = 4 * number * topology["counts"]["device"]
        records.append({"kind": "traffic", "at_s": at_s, **traffic, "messages": messages})
    return records


def done(records: Sequence[Record], topology: Record, seconds: float, **final: float) -> Record:
    """The last record; its figures are those of the root at the end."""
    ends = [r for r in records if r["kind"] == "loss" and r["tier"] == "root"]
    loss, base = (ends[-1]["loss"], ends[-1]["base"]) if ends else (1.0, 2.0)
    traffic = [r for r in records if r["kind"] == "traffic"][-1]
    devices = topology["counts"].get("device", 0)
    return {
        "kind": "done",
        "wall_s": 0.02 * devices * seconds / 60,
        "cpu_s": 0.035 * devices * seconds / 60,
        "peak_bytes": 180_000_000 + 400_000 * devices,
        "virtual_s": traffic["at_s"],
        "events": 40 * devices,
        "final": {"loss": loss, "base": base, "gain": base - loss, **final},
        "up_bytes": traffic["up_bytes"] * max(devices, 10) // 10,
        "down_bytes": traffic["down_bytes"] * max(devices, 10) // 10,
        "messages": traffic["messages"],
        "devices": devices,
        "rounds": max(r["round"] for r in records if "round" in r) if ends else 0,
    }


def write_cell(
    folder: Path, vary: Mapping[str, Any], settings: Mapping[str, Any], records: Sequence[Record]
) -> Path:
    """One finished cell's file, named in the experiment's."""
    name = ", ".join(f"{key}={value}" for key, value in vary.items())
    id_ = hashlib.sha256(name.encode()).hexdigest()[:12]
    cell = {"id": id_, "name": name, "vary": dict(vary), "settings": dict(settings)}
    add_cell(folder, cell)
    path = folder / "cells" / f"{id_}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ({"kind": "cell", **cell}, *records)
    path.write_text("".join(json.dumps(record) + "\n" for record in lines), "utf-8")
    return path


def write_experiment(folder: Path, toml: str) -> Path:
    """The experiment's two files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.toml").write_text(toml, "utf-8")
    asked = {"question": "", "compare": [], "quick": False, "set": {}, **tomllib.loads(toml)}
    change(folder, **asked, versions=VERSIONS, cells=[])
    return folder


def change(folder: Path, **fields: Any) -> None:
    """Change fields of ``experiment.json``."""
    path = folder / "experiment.json"
    experiment = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(experiment | fields), "utf-8")


def add_cell(folder: Path, cell: Record) -> None:
    """Name one more cell in ``experiment.json``."""
    cells = json.loads((folder / "experiment.json").read_text("utf-8"))["cells"]
    change(folder, cells=[*cells, cell])


def byzantine(folder: Path, seeds: int = 2) -> Path:
    """Three strategies under four attacks and without."""
    strategies = ["fedavg", "flower:FedTrimmedAvg", "banyan"]
    attacks = ["none", "sign_flip", "alie", "gaussian", "ipm"]
    write_experiment(
        folder,
        f"""name = "byzantine"
question = "Which strategy keeps what it learns when three in ten devices of every scope lie?"
compare = ["strategy.name", "attack.name"]

[topology]
fan_out = [2, 2, 3, 10]

[attack]
fraction = 0.3

[run]
rounds = 20
seeds = {list(range(seeds))}

[sweep]
"strategy.name" = {json.dumps(strategies)}
"attack.name" = {json.dumps(attacks)}
""",
    )
    for strategy, attack, seed in itertools.product(strategies, attacks, range(seeds)):
        random = Random(f"{strategy} {attack} {seed}")
        kept = 1.0 if attack == "none" else KEPT.get((strategy, attack), 0.96)
        topology = tree(2, 2, 3, 10, 0.0 if attack == "none" else 0.3)
        records = curve(random, topology, 20, kept=kept * random.uniform(0.97, 1.03), pace=12)
        vary = {"strategy.name": strategy, "attack.name": attack, "seed": seed}
        settings = {
            "topology": {"fan_out": [2, 2, 3, 10]},
            "attack": {"name": attack, "fraction": 0.3},
            "strategy": {"name": strategy},
        }
        write_cell(folder, vary, settings, [topology, *records, done(records, topology, 240)])
    return folder


def scale(folder: Path) -> Path:
    """The same tree with 10 to 10,000 devices."""
    sizes = [[2, 5], [2, 5, 10], [2, 5, 10, 10], [2, 5, 10, 100]]
    write_experiment(
        folder,
        f"""name = "scale"
question = "What does a run cost as the number of devices grows?"
compare = ["topology.fan_out"]
[run]
seeds = [0]
[sweep]
"topology.fan_out" = {sizes}
""",
    )
    for fan_out in sizes:
        devices = math.prod(fan_out)
        topology = tree(2, 1, 1, 5, 0) if devices == 10 else tree(2, 1, 5, devices // 10, 0)
        if devices > 400:
            topology = {
                "kind": "topology",
                "nodes": [],
                "counts": {"root": 1, "language": 2, "domain": 10, "tier3": 100, "device": devices},
            }
        records = curve(Random(devices), topology, 10, kept=1, pace=30)
        vary = {"topology.fan_out": fan_out, "seed": 0}
        settings = {"topology": {"fan_out": fan_out}, "attack": {"name": "none"}}
        write_cell(folder, vary, settings, [topology, *records, done(records, topology, 300)])
    return folder


def matrix(random: Random, lost: float, name: str = "root") -> Record:
    """Losses after learning each of four systems, in sequence."""
    systems = SYSTEMS[:4]
    start, learned = (4.2, 3.9, 4.6, 3.6), (3.4, 3.1, 3.4, 2.3)
    losses = []
    for i in range(4):
        row = []
        for j in range(4):
            since = lost * (i - j) * random.uniform(0.8, 1.2)
            row.append(round(learned[j] + since if j <= i else start[j] - 0.1 * (i + 1), 4))
        losses.append(row)
    return {"kind": "matrix", "name": name, "sources": systems, "losses": losses}


def forgetting(folder: Path, seeds: int = 3) -> Path:
    """Cases that forget more and less."""
    cases = {"plain": 0.12, "replay": 0.04, "stand-ins": 0.03, "everything": 0.005}
    toml = 'name = "forgetting"\nquestion = "What is kept of earlier systems?"\n'
    toml += f"[run]\nseeds = {list(range(seeds))}\n"
    toml += "".join(f'[[case]]\nname = "{case}"\n' for case in cases)
    write_experiment(folder, toml)
    for (case, lost), seed in itertools.product(cases.items(), range(seeds)):
        random = Random(f"{case} {seed}")
        topology = tree(1, 1, 4, 4, 0)
        records = curve(random, topology, 16, kept=1 - 3 * lost, pace=40)
        vary = {"case": case, "seed": seed}
        everything = [topology, *records, matrix(random, lost), done(records, topology, 640)]
        write_cell(folder, vary, {"replay": {"case": case}}, everything)
    return folder


def stragglers(folder: Path) -> Path:
    """Strategies that wait and one that does not, with crashes."""
    paces = {"banyan": 12.0, "fedbuff": 20.0, "deadline": 45.0, "synchronous": 190.0}
    toml = 'name = "stragglers"\nquestion = "How long does a slow device hold up the rest?"\n'
    toml += 'compare = ["strategy.name"]\n[run]\nseeds = [0, 1]\n[sweep]\n'
    toml += f'"strategy.name" = {json.dumps(list(paces))}\n'
    write_experiment(folder, toml)
    for (strategy, pace), seed in itertools.product(paces.items(), (0, 1)):
        random = Random(f"{strategy} {seed}")
        topology = tree(2, 2, 3, 10, 0)
        kept = random.uniform(0.95, 1.02)
        records = curve(random, topology, 20, kept=kept, pace=pace * random.uniform(0.9, 1.1))
        note = {"kind": "note", "at_s": 60.5, "what": "crash", "text": "device-3 of /en/law/eye"}
        vary = {"strategy.name": strategy, "seed": seed}
        ending = done(records, topology, 20 * pace)
        ending["up_bytes"] = int(ending["up_bytes"] * (1 + pace / 100))
        settings = {"strategy": {"name": strategy}}
        write_cell(folder, vary, settings, [topology, *records, note, ending])
    return folder


def single(folder: Path) -> Path:
    """One cell, no sweep, a deep tree, and a few notes."""
    write_experiment(folder, 'name = "single"\nquestion = "Does it learn?"\n')
    topology = tree(4, 3, 6, 4, 0.25)
    records = curve(Random(1), topology, 20, kept=1, pace=300)
    notes = [
        {"kind": "note", "at_s": at, "what": what, "text": text}
        for at, what, text in (
            (900.0, "crash", "/en/law went away"),
            (2400.0, "partition", "/de is cut off"),
            (3900.0, "heal", "/de is back"),
        )
    ]
    everything = [topology, *records, *notes, done(records, topology, 6000)]
    write_cell(folder, {"seed": 0}, {"attack": {"name": "none"}}, everything)
    return folder
