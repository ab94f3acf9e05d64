"""``banyan node history``: what a node released, and what its gate refused."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from nodes.cli.find import NodeOption, NodesOption, find
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.renamed import RenamedOptions

if TYPE_CHECKING:
    from nodes.dashboard.history import HistoryEntry
    from nodes.state.events import GateJudged

app = typer.Typer()


@app.command("history", cls=RenamedOptions)
def history(node: NodeOption = None, nodes: NodesOption = Path(), json: AsJson = False) -> None:
    """Show every release and every refused candidate of a node, with the gate's verdicts.

    Examples:
      banyan node history --node /en/healthcare --nodes runs/demo/nodes
      banyan node history --node runs/demo/nodes/en-healthcare --json
    """
    from dataclasses import asdict

    from nodes.dashboard import history as past
    from nodes.state.ledger import Ledger

    with one_sentence():
        folder = find(node, nodes)
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


def _row(entry: HistoryEntry) -> Iterator[str]:
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


def _try(judged: GateJudged) -> str:
    verdict = "passed" if judged.accepted else _reasons(judged)
    rehearsed = " rehearsed" if judged.rehearsal else ""
    change = f"{_nats(judged.before)} → {_nats(judged.after)}"
    return f"η {judged.step:g}{rehearsed} {verdict}: {change}"


def _reasons(judged: GateJudged) -> str:
    """Say why a candidate was refused, and how much each source it harmed would have changed."""
    sources = {figures.source: figures for figures in judged.sources}
    reasons = []
    for reason in judged.reasons:
        if reason.source is not None and (figures := sources.get(reason.source)):
            change = f"{_nats(figures.before)} → {_nats(figures.after)}"
            reasons.append(f"{reason.code} {reason.source} ({change})")
        else:
            reasons.append(reason.code)
    return ", ".join(reasons)


def _nats(loss: float | None) -> str:
    return "not finite" if loss is None else f"{loss:.3f}"
