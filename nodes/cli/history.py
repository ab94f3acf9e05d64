"""``banyan node history``: what a node released, and what its gate refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from nodes.cli.find import NodesOption, WhereArgument, find
from nodes.cli.output import AsJson, console, one_sentence, print_json

if TYPE_CHECKING:
    from nodes.dashboard.history import Entry

app = typer.Typer()


@app.command("history")
def history(where: WhereArgument, nodes: NodesOption = Path(), json: AsJson = False) -> None:
    """Every release and every refused candidate of a scope, with the gate's verdicts.

    Examples:
      banyan node history /en/healthcare --nodes runs/demo/nodes
      banyan node history runs/demo/nodes/en-healthcare --json
    """
    from dataclasses import asdict

    from nodes.dashboard import history as past
    from nodes.state.ledger import Ledger

    with one_sentence():
        folder = find(where, nodes)
        with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
            entries = past.history(ledger.events(past.KINDS))
        if json:
            print_json([asdict(entry) for entry in entries])
            return
        table = Table(box=None, header_style="dim")
        for column in ("when (UTC)", "version", "what", "round", "gate", "updates", ""):
            table.add_column(column)
        for entry in entries:
            table.add_row(*_row(entry), style="" if entry.standing else "dim strike")
        console.print(table)


def _row(entry: Entry) -> Iterator[str]:
    yield datetime.fromtimestamp(entry.at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    yield str(entry.version or "–")
    yield entry.what
    yield str(entry.round or "–")
    yield "; ".join(_try(t) for t in entry.tries) or "–"
    counts = (
        (entry.accepted, "accepted"),
        (entry.outvoted, "outvoted"),
        (entry.refused, "refused"),
    )
    yield ", ".join(f"{len(nodes)} {name}" for nodes, name in counts if nodes) or "–"
    yield entry.why


def _try(body: dict[str, Any]) -> str:
    verdict = "passed" if body["accepted"] else _reasons(body)
    rehearsed = " rehearsed" if body["rehearsal"] else ""
    return (
        f"η {body['step']:g}{rehearsed} {verdict}: {_nats(body['before'])} → {_nats(body['after'])}"
    )


def _reasons(body: dict[str, Any]) -> str:
    """Why a candidate was refused; for a source, how what it scores would have changed."""
    sources = {of["source"]: of for of in body["sources"]}
    said = []
    for reason in body["reasons"]:
        if of := sources.get(reason["source"]):
            change = f"{_nats(of['before'])} → {_nats(of['after'])}"
            said.append(f"{reason['code']} {reason['source']} ({change})")
        else:
            said.append(reason["code"])
    return ", ".join(said)


def _nats(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.3f}"
