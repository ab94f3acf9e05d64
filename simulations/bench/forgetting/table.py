"""The tables of the bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(result: Mapping[str, Any]) -> None:
    """Show every matrix, what is forgotten, and what is known of systems that nobody learned."""
    console = Console()
    systems, unseen = result["scale"]["systems"], result["scale"]["unseen"]
    alone = [result["alone"][system][system] for system in systems]
    for group, title in (("device", "one device"), ("children", "children one after another")):
        for name, of in result[group].items():
            console.print(_matrix(f"{title}: {name}", systems, of["matrix"], alone))
    for count, key in sorted({len(systems): "whole", result["first"]: "first"}.items()):
        console.print(_summary(result, key, count, alone))
    console.print(_unseen(result, unseen))


def _matrix(
    title: str, systems: Sequence[str], matrix: Sequence[Sequence[float]], alone: Sequence[float]
) -> Table:
    table = Table(title=f"{title}; held-out loss on each, nats per token")
    table.add_column("after learning")
    for system in systems:
        table.add_column(system, justify="right")
    for i, (system, row) in enumerate(zip(systems, matrix, strict=True)):
        shown = [f"{loss:.3f}" if j <= i else f"[dim]{loss:.3f}" for j, loss in enumerate(row)]
        table.add_row(system, *shown)
    table.add_row("each alone", *(f"{loss:.3f}" for loss in alone), style="italic")
    return table


def _summary(result: Mapping[str, Any], key: str, count: int, alone: Sequence[float]) -> Table:
    """After the first ``count`` systems; ``key`` is where their numbers lie."""
    table = Table(title=f"After {count} systems; forgetting is over all of them but the last")
    table.add_column("learner")
    for column in ("forgotten", "backward", "average", "less alone", "tokens"):
        table.add_column(column, justify="right")
    for group in ("device", "children"):
        for name, of in result[group].items():
            tokens = of["tokens"][count - 1] / sum(result["tokens_alone"][:count])
            apart = of[key]["average"] - sum(alone[:count]) / count
            table.add_row(
                f"{group}: {name}",
                f"{of[key]['forgetting']:.3f}",
                f"{of[key]['backward_transfer']:+.3f}",
                f"{of[key]['average']:.3f}",
                f"{apart:+.3f}",
                f"{tokens:.2f}×",
            )
    mean = list(result["mean_of_alone"].values())[:count]
    table.caption = (
        f"Each alone, on its own: {sum(alone[:count]) / count:.3f}. "
        f"The mean of all these adapters: {sum(mean) / count:.3f}."
    )
    return table


def _unseen(result: Mapping[str, Any], unseen: Sequence[str]) -> Table:
    table = Table(title="Systems that nobody learned")
    table.add_column("")
    for system in unseen:
        table.add_column(system, justify="right")
    rows = {"base": result["base"]}
    for system in unseen:
        best = min(result["alone"], key=lambda s: float(result["alone"][s][system]))
        rows.setdefault(f"best child alone ({best})", result["alone"][best])
    rows["mean of all alone"] = result["mean_of_alone"]
    for group in ("device", "children"):
        for name, of in result[group].items():
            rows[f"{group}: {name}"] = of["unseen"]
    for name, losses in rows.items():
        table.add_row(name, *(f"{losses[system]:.3f}" for system in unseen))
    return table
