"""What is forgotten when organ systems arrive one after another, and what memory does about it.

Every training and every measurement is kept in a file named after what made it, so that an
interrupted bench goes on where it stopped. Settings are chosen on probes; the tables are of
held-out text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from nodes.errors import NodeError
from simulations.bench.forgetting.learners import CHILDREN, DEVICE, Learner
from simulations.bench.forgetting.setting import (
    QUICK,
    ForgettingBench,
    ForgettingScale,
    State,
    Theta,
)
from simulations.forgetting import LossMatrix
from simulations.store import digest
from simulations.tables import table

__all__ = ["QUICK", "ForgettingScale", "run", "tables"]

LEARNERS = tuple(dict.fromkeys([*DEVICE, *CHILDREN]))
FIRST = 4
"""Sources of the shorter sequence that the tables report as well."""


def run(
    base: Path,
    out: Path,
    scale: ForgettingScale | None = None,
    say: Callable[[str], None] = lambda _line: None,
    only: Sequence[str] = (),
) -> dict[str, Any]:
    """Let every learner learn the sequence, and measure; also written to ``report.json``.

    Args:
        only: names of learners, of ``LEARNERS``; all by default.

    Raises ``NodeError`` ``no-base``, ``no-data``, ``no-learner``.
    """
    if unknown := set(only) - set(LEARNERS):
        known = ", ".join(LEARNERS)
        raise NodeError("no-learner", f"There is no learner {unknown.pop()!r}; there are {known}.")
    chosen = {
        group: {name: learner for name, learner in learners.items() if name in (only or LEARNERS)}
        for group, learners in (("device", DEVICE), ("children", CHILDREN))
    }
    scale = scale or ForgettingScale()
    bench = ForgettingBench(base, out / "kept", scale, say)
    systems, unseen = bench.scale.systems, bench.scale.unseen
    alone = [bench.train(bench.start, source) for source in systems]
    result: dict[str, Any] = {
        "scale": asdict(bench.scale),
        "base": bench.held_losses(bench.start, (*systems, *unseen)),
        "alone": {
            source: bench.held_losses(state, (source, *unseen))
            for source, state in zip(systems, alone, strict=True)
        },
        "mean_of_alone": bench.held_losses(_mean(alone), (*systems, *unseen)),
        "tokens_alone": [state.tokens for state in alone],
        "first": min(FIRST, len(systems)),
    }
    for group, learners in chosen.items():
        result[group] = {name: _sequence(bench, learner) for name, learner in learners.items()}
    (out / "report.json").write_text(json.dumps(result, indent=1), "utf-8")
    return result


def _sequence(bench: ForgettingBench, learner: Learner) -> dict[str, Any]:
    """What a learner knows after each source."""
    states, sources = learner.states(bench), bench.scale.systems
    losses = [bench.held_losses(state, sources) for state in states]
    whole = LossMatrix(sources, np.array([[row[s] for s in sources] for row in losses]))
    first = min(FIRST, len(sources))
    return {
        "matrix": whole.losses.tolist(),
        "tokens": [state.tokens for state in states],
        "whole": _measures(whole),
        "first": _measures(whole.first(first)),
        "unseen": bench.held_losses(states[-1], bench.scale.unseen),
    }


def _measures(matrix: LossMatrix) -> dict[str, float]:
    return {
        "average": matrix.average,
        "forgetting": matrix.forgetting,
        "backward_transfer": matrix.backward_transfer,
    }


def _mean(states: Sequence[State]) -> State:
    """The adapters' mean: what federated averaging makes when all are online at once."""
    theta: Theta = np.mean([state.theta for state in states], axis=0, dtype=np.float32)
    return State(theta, digest([state.made for state in states]), "mean of alone")


def tables(result: Mapping[str, Any]) -> Iterator[Table]:
    """Every matrix, what is forgotten, and what is known of systems that nobody learned."""
    systems, unseen = result["scale"]["systems"], result["scale"]["unseen"]
    alone = [result["alone"][system][system] for system in systems]
    learners = [
        (f"{title}: {name}", learned)
        for group, title in (("device", "one device"), ("children", "children in turn"))
        for name, learned in result[group].items()
    ]
    for title, learned in learners:
        rows = [
            [
                system,
                *(
                    f"{loss:.3f}" if j <= i else Text(f"{loss:.3f}", style="dim")
                    for j, loss in enumerate(row)
                ),
            ]
            for i, (system, row) in enumerate(zip(systems, learned["matrix"], strict=True))
        ]
        rows.append(["each alone", *(f"{loss:.3f}" for loss in alone)])
        heading = f"{title}; held-out loss on each, nats per token"
        yield table(heading, ("after learning", *systems), rows)
    for count, key in sorted({len(systems): "whole", result["first"]: "first"}.items()):
        yield _summary(result, learners, key, count, sum(alone[:count]) / count)
    rows_of = {"base": result["base"]}
    for system in unseen:
        best = min(result["alone"], key=lambda s: float(result["alone"][s][system]))
        rows_of.setdefault(f"best child alone ({best})", result["alone"][best])
    rows_of["mean of all alone"] = result["mean_of_alone"]
    rows_of |= {title: learned["unseen"] for title, learned in learners}
    yield table(
        "Systems that nobody learned",
        ("", *unseen),
        [[name, *(f"{losses[s]:.3f}" for s in unseen)] for name, losses in rows_of.items()],
    )


def _summary(
    result: Mapping[str, Any],
    learners: Sequence[tuple[str, Mapping[str, Any]]],
    key: str,
    count: int,
    alone: float,
) -> Table:
    """After the first ``count`` systems, whose measures lie under ``key``; ``alone``: mean loss."""
    rows = []
    for title, learned in learners:
        tokens = learned["tokens"][count - 1] / sum(result["tokens_alone"][:count])
        measures = learned[key]
        rows.append(
            (title, f"{measures['forgetting']:.3f}", f"{measures['backward_transfer']:+.3f}",
             f"{measures['average']:.3f}", f"{measures['average'] - alone:+.3f}", f"{tokens:.2f}×")
        )  # fmt: skip
    columns = ("learner", "forgotten", "backward", "average", "less alone", "tokens")
    made = table(
        f"After {count} systems; forgetting is over all of them but the last", columns, rows
    )
    mean = list(result["mean_of_alone"].values())[:count]
    made.caption = (
        f"Each alone, on its own: {alone:.3f}. "
        f"The mean of all these adapters: {sum(mean) / count:.3f}."
    )
    return made
