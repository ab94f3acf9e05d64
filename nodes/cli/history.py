"""``banyan node history | rollback | withdraw``: look at what a node released, and undo it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nodes.cli.find import NodesOption, find, member, opened
from nodes.cli.output import AsJson, console, one_sentence, print_json

if TYPE_CHECKING:
    from nodes.dashboard.history import HistoryEntry
    from nodes.state.events import GateJudged

WhereArgument = Annotated[
    str, typer.Argument(help="A scope, such as /en/healthcare, or the node's state folder.")
]


def add_to(app: typer.Typer) -> None:
    """Add the three commands to ``banyan node``."""
    for command in (history, rollback, withdraw):
        app.command(command.__name__)(command)


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


def rollback(
    where: WhereArgument,
    to: Annotated[int, typer.Option("--to", min=1, help="The version to bring back.")],
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Also withdraw from the scopes above what went up.")
    ] = False,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Publish an older state of a scope as a new signed release; the tree below follows.

    Nodes below take back what the undone releases did to them. Text and updates stay where they
    are. The node may be running: it goes on from the new release.

    Example: banyan node rollback /en/healthcare --to 3 --cascade --nodes runs/demo/nodes
    """
    from nodes.releases.rollback import promoted_since, roll_back

    with one_sentence():
        folder = find(where, nodes)
        with opened(folder) as node:
            promoted = promoted_since(node, to)
            before = node.state.own.version
            version = roll_back(node, to)
            scope, identity = str(node.home.scope), node.home.id
            above = node.home.parent
        result: dict[str, Any] = {
            "scope": scope,
            "version": version,
            "undone": [to + 1, before],
            "promoted": promoted,
            "withdrawn": None,
        }
        if cascade and promoted and above is not None:
            result["withdrawn"] = _withdraw(find(str(above.scope), nodes), identity, promoted)
        if json:
            print_json(result)
            return
        console.print(
            f"{scope} is at version {version}: as it was at {to}; "
            f"versions {to + 1} to {before} stand no longer."
        )
        if promoted and not cascade:
            console.print(
                f"{above.scope if above else ''} counted promotions of this scope in its versions "
                f"{', '.join(map(str, promoted))}. With --cascade they are withdrawn there too."
            )
        if result["withdrawn"]:
            done = result["withdrawn"]
            console.print(
                f"{done['scope']} is at version {done['version']}, computed again without them."
            )


def withdraw(
    who: Annotated[str, typer.Argument(help="The contributor: its name or the start of its id.")],
    where: Annotated[
        str, typer.Option("--from", help="The scope or the state folder of its parent.")
    ],
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Compute a scope's rounds again without one contributor, and release the difference.

    For an erasure request: its stored updates and the text it shared are deleted. What others
    learned later on top of them stays, as do older releases; so does the contributor's membership.

    Example: banyan node withdraw device-4 --from /en/healthcare/cardiology --nodes runs/demo/nodes
    """
    with one_sentence():
        folder = find(where, nodes)
        result = _withdraw(folder, member(folder, who), None)
        if json:
            print_json(result)
            return
        again = ", ".join(map(str, result["recomputed"]))
        console.print(
            f"{result['scope']} is at version {result['version']}: "
            f"{f'versions {again}' if again else 'nothing had to be'} computed again without "
            f"{who}; {result['deleted']} stored updates and {result['forgotten']} shared documents "
            "deleted."
        )
        if result["kept"]:
            console.print(
                f"{result['kept']} stored updates stay: an older release is made of the same bytes."
            )


def _withdraw(folder: Path, child: str, versions: list[int] | None) -> dict[str, Any]:
    from dataclasses import asdict

    from nodes.parent import withdrawal
    from protocol import NodeId

    with opened(folder) as node:
        done = withdrawal.withdraw(node, NodeId(child), versions)
        return asdict(done) | {"scope": str(node.home.scope)}


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
    """Why a candidate was refused; for a source, how what it scores would have changed."""
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
