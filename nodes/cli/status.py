"""``banyan node status | verify``: what a node's ledger says, and whether it holds together."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nodes.cli.output import AsJson, console, one_sentence, print_json

if TYPE_CHECKING:
    from nodes.dashboard.status import Probed, Status
    from nodes.text.replay_buffer import Size

app = typer.Typer()


@app.command("status")
def status(
    folder: Annotated[Path, typer.Argument(help="The node's state folder.")] = Path(),
    json: AsJson = False,
) -> None:
    """What the node's ledger says: version, rounds, what was accepted and refused, losses, what
    each source of probes scored; and what text its replay buffer holds.

    Example: banyan node status runs/demo/nodes/en-healthcare --json
    """
    from nodes.dashboard.status import StatusReader
    from nodes.machine.clock import SystemClock
    from nodes.state.home import open_home
    from nodes.text.replay_buffer import sizes_in

    with one_sentence():
        home = open_home(folder, SystemClock().now_ms())
        found, text = StatusReader(folder).read(), sizes_in(folder)
        if json:
            sizes = {part: {s: asdict(of) for s, of in held.items()} for part, held in text.items()}
            print_json(found.to_json() | {"text": sizes})
            return
        table = Table(show_header=False, box=None)
        rows: list[tuple[str, object]] = [
            ("node", f"{home.certificate.name} ({home.certificate.role})"),
            ("scope", found.scope),
            ("version", found.version),
            ("round", f"{found.round}{' (open)' if found.round_open else ''}"),
            ("members", _members(found) or "none"),
            ("tolerates", f"{found.tolerates} malicious"),
            ("accepted", f"{found.accepted} ({found.late} late)"),
            ("outvoted", sum(found.outvoted.values())),
            ("refused", _counts(found.refused)),
            ("at the door", _counts(found.door)),
            ("releases", _counts(found.releases)),
            ("probe loss", _change(found.first_loss, found.loss)),
            *((f"probes: {name}", _probed(of)) for name, of in found.sources.items()),
            ("trained", f"{found.trained_rounds} rounds, {found.trained_tokens:,} tokens"),
        ]
        for part, held in text.items():
            rows.append((f"text: {part}", "; ".join(_size(s, of) for s, of in held.items())))
        for label, value in rows:
            table.add_row(f"[dim]{label}[/]", str(value))
        console.print(table)


@app.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(help="The node's state folder.")] = Path(),
) -> None:
    """Check the whole ledger: every event against the one before it.

    Example: banyan node verify runs/demo/nodes/en
    """
    from nodes.state.ledger import Ledger

    with one_sentence(), Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        console.print(f"{ledger.verify()} events, the chain of digests holds.")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _members(found: Status) -> str:
    out = dict.fromkeys(found.revoked, " (revoked)")
    return ", ".join(sorted(name + out.get(child, "") for child, name in found.members.items()))


def _size(source: str, size: Size) -> str:
    return f"{source} {size.documents:,} documents, {size.bytes:,} bytes"


def _probed(of: Probed) -> str:
    return f"{of.kind}, {_change(of.first, of.now)}, {of.probes} probes"


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "not measured yet"
    return f"{before:.3f} → {after:.3f} nats per token"
