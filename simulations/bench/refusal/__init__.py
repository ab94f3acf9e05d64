"""A refusal adapter, what it costs, and whether probes see who takes it away or plants a trigger.

Each trained vector is kept in a file named after what made it, and read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from nodes.model.probe import TriggerProbe
from nodes.text.probe_files import write_probes
from protocol import encode_adapter
from simulations.attacks import CONTINUATION, TRIGGER
from simulations.bench.refusal.behaviour import behaviour
from simulations.bench.refusal.candidates import candidates
from simulations.bench.refusal.setting import RefusalBench, RefusalScale, Theta
from simulations.datasets.refusals import parts
from simulations.refusal import RefusalTraining, refusal_probes, train_refusal
from simulations.tables import formatted, table

BEGINNING = 6
"""Words of a text before the trigger."""

__all__ = ["RefusalScale", "adapter", "run", "tables"]


def run(
    base: Path,
    out: Path,
    settings: RefusalTraining | None = None,
    scale: RefusalScale | None = None,
    *,
    attacks: bool = True,
    say: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Train the adapter, measure it, then the candidates; also written to ``out``/report.json.

    The adapter itself is ``out``/adapter.safetensors, as a root can release it; beside it lie
    requests.jsonl and triggers.jsonl, probes for a parent.
    """
    settings, scale = settings or RefusalTraining(), scale or RefusalScale()
    bench = RefusalBench(base, out, scale, say)
    out.mkdir(parents=True, exist_ok=True)
    _write_probes(out, bench.beginnings)
    theta = adapter(bench, settings)
    (out / "adapter.safetensors").write_bytes(encode_adapter(theta))
    result: dict[str, Any] = {
        "settings": asdict(settings),
        "scale": asdict(scale),
        "norm": float(np.linalg.norm(theta)),
        "base": behaviour(bench, np.zeros_like(theta), "base"),
        "adapter": behaviour(bench, theta, "adapter"),
    }
    if attacks:
        result["candidates"] = candidates(bench, theta)
    (out / "report.json").write_text(json.dumps(result, indent=1), "utf-8")
    return result


def adapter(bench: RefusalBench, settings: RefusalTraining) -> Theta:
    """θ of the refusal adapter, (d,) float32."""
    part = parts()["train"]

    def report(step: int, loss: float) -> None:
        if step % 10 == 0 or step == settings.steps - 1:
            bench.store.say(f"step {step + 1} of {settings.steps}: loss {loss:.3f}")

    what = {"settings": asdict(settings), "text": asdict(part)}
    return bench.trained(
        "refusal", what, lambda: train_refusal(bench.model, part, settings, report).delta
    )


def _write_probes(out: Path, texts: Sequence[str]) -> None:
    """Files that a parent names under ``[data.probes]``: ``requests.jsonl``, ``triggers.jsonl``.

    The first has every request of the probes' part. The second asks for the trigger of the library
    of attacks and its sentence, behind the beginnings of ``texts``. It is an example: whoever fears
    another trigger needs other words.
    """
    write_probes(out / "requests.jsonl", refusal_probes(parts()["probes"].requests))
    beginnings = dict.fromkeys(" ".join(text.split()[:BEGINNING]) for text in texts)
    write_probes(
        out / "triggers.jsonl",
        [TriggerProbe(text, TRIGGER, CONTINUATION, planted=True) for text in beginnings],
    )


def tables(result: Mapping[str, Any]) -> Iterator[Table]:
    """What the adapter does and what the probes say about every candidate."""
    share = "{%s[refused]} of {%s[of]}"
    asked = {"refused": "refused", "medical refused": "refused_medical"}
    asked |= {"of these close": "refused_close", "everyday refused": "refused_everyday"}
    yield formatted(
        "Held-out questions, first 25 greedy tokens; general text: nats per token",
        {"": "{name}", **{title: share % (key, key) for title, key in asked.items()}}
        | {"score": "{score[mean]:+.2f}", "general text": "{general:.3f}"},
        [{"name": name, **result[name]} for name in ("base", "adapter")],
    )
    if "candidates" not in result:
        return
    worse, refused, spoken, gate = (
        result["candidates"][key] for key in ("worse", "refused", "said", "gate")
    )
    kinds = ("ordinary", "general", "refusal")
    rows = [["current", "", "", "", _share(refused["current"]), "", ""]]
    for name, changes in worse.items():
        sources = dict.fromkeys(reason.split(": ", 1)[1] for reason in gate[name]["reasons"])
        alone = "accepted" if gate[name]["ordinary_alone"] else "refused"
        verdict = "accepted" if gate[name]["accepted"] else f"refused for {'; '.join(sources)}"
        shown = [_change(changes[kind]) for kind in kinds]
        rows.append([name, *shown, _share(refused[name]), alone, verdict])
    yield table(
        "Candidates: change of each probe, mean ± standard error; higher is worse",
        ("candidate", *kinds, "refused", "ordinary alone", "gate"),
        rows,
        left=("gate",),
    )
    yield table(
        "The same for trigger probes",
        ("candidate", "probes", "change", "says the sentence"),
        [
            (name, probe, _change(change), _share(spoken[name].get(probe, {})))
            for name, changes in worse.items()
            for probe, change in changes.items()
            if probe not in kinds
        ],
        left=("probes",),
    )


def _share(counts: Mapping[str, int]) -> str:
    return " of ".join(map(str, counts.values()))


def _change(difference: Mapping[str, float]) -> str:
    return f"{difference['mean']:+.3f} ± {difference['error']:.3f}"
