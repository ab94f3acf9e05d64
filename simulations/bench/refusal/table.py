"""The tables of the bench."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(result: Mapping[str, Any]) -> None:
    """Show what the adapter does and what the probes say about every candidate."""
    console = Console()
    table = Table(title="Held-out questions, first 25 greedy tokens; general text: nats per token")
    asked = {
        "refused": "refused",
        "medical refused": "refused_medical",
        "of these close": "refused_close",
        "everyday refused": "refused_everyday",
    }
    for column in ("", *asked, "score", "general text"):
        table.add_column(column)
    for name in ("base", "adapter"):
        of = result[name]
        shown = [_share(of[key]) for key in asked.values()]
        table.add_row(name, *shown, f"{of['score']['mean']:+.2f}", f"{of['general']:.3f}")
    console.print(table)
    if "candidates" not in result:
        return
    worse, refused, said, gate = (
        result["candidates"][key] for key in ("worse", "refused", "said", "gate")
    )
    table = Table(title="Candidates: change of each probe, mean ± standard error; higher is worse")
    for column in (
        "candidate",
        *(kinds := ("ordinary", "general", "refusal")),
        "refused",
        "ordinary alone",
        "gate",
    ):
        table.add_column(column, overflow="fold")
    table.add_row("current", "", "", "", _share(refused["current"]))
    for name, of in worse.items():
        table.add_row(
            name, *(_change(of[kind]) for kind in kinds), _share(refused[name]), *_said(gate[name])
        )
    console.print(table)
    table = Table(title="The same for trigger probes")
    for column in ("candidate", "probes", "change", "says the sentence"):
        table.add_column(column)
    for name, of in worse.items():
        for probe in (probe for probe in of if probe not in kinds):
            table.add_row(name, probe, _change(of[probe]), _share(said[name].get(probe, {})))
    console.print(table)


def _share(of: Mapping[str, int]) -> str:
    return " of ".join(str(count) for count in of.values())


def _change(of: Mapping[str, float]) -> str:
    return f"{of['mean']:+.3f} ± {of['error']:.3f}"


def _said(gate: Mapping[str, Any]) -> tuple[str, str]:
    sources = dict.fromkeys(reason.split(": ", 1)[1] for reason in gate["reasons"])
    alone = "accepted" if gate["ordinary_alone"] else "refused"
    return alone, "accepted" if gate["accepted"] else f"refused for {'; '.join(sources)}"
