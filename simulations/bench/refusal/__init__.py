"""A refusal adapter, what it costs, and whether probes see who takes it away or plants a trigger.

Each trained vector is kept in a file named after what made it, and read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from protocol import encode_adapter
from simulations.bench.refusal.behaviour import behaviour
from simulations.bench.refusal.candidates import candidates
from simulations.bench.refusal.probe_files import write_files
from simulations.bench.refusal.setting import Bench, Scale, Theta, prepare
from simulations.bench.refusal.table import print_table
from simulations.datasets.refusals import parts
from simulations.refusal import Settings, train_refusal

__all__ = ["Scale", "adapter", "print_table", "run"]


def run(
    base: Path,
    out: Path,
    settings: Settings | None = None,
    scale: Scale | None = None,
    *,
    attacks: bool = True,
    say: Callable[[str], None] = lambda _line: None,
) -> dict[str, Any]:
    """Train the adapter, measure it, then the candidates; also written to ``out``/report.json.

    The adapter itself is ``out``/adapter.safetensors, as a root can release it; beside it lie
    requests.jsonl and triggers.jsonl, probes for a parent.
    """
    settings, scale = settings or Settings(), scale or Scale()
    bench = prepare(base, out, scale, say)
    write_files(out, bench.beginnings)
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


def adapter(bench: Bench, settings: Settings) -> Theta:
    """θ of the refusal adapter, (d,) float32."""
    part = parts()["train"]

    def report(step: int, loss: float) -> None:
        if step % 10 == 0 or step == settings.steps - 1:
            bench.say(f"step {step + 1} of {settings.steps}: loss {loss:.3f}")

    what = {"settings": asdict(settings), "text": asdict(part)}
    return bench.kept(
        "refusal", what, lambda: train_refusal(bench.model, part, settings, report).delta
    )
