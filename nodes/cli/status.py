"""``banyan node status``: what a node's ledger says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.table import Table

from nodes.cli.find import NodeOption, NodesOption, find, find_config, open_home_in
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.renamed import RenamedOptions
from nodes.cli.verify import retention_lines

if TYPE_CHECKING:
    from nodes.dashboard.status import Probed, Status
    from nodes.text.replay_buffer import Size

app = typer.Typer()


@app.command("status", cls=RenamedOptions)
def status(node: NodeOption = None, nodes: NodesOption = Path(), json: AsJson = False) -> None:
    """Show what a node's ledger says: version, rounds, members, refusals, losses, text.

    The losses are those of each source of probes; the text is that of the replay buffer.

    Example: banyan node status --node runs/demo/nodes/en-healthcare --json
    """
    from nodes.dashboard.status import StatusReader
    from nodes.text.replay_buffer import sizes_in

    with one_sentence():
        folder = find(node, nodes)
        home = open_home_in(folder)
        current, text = StatusReader(folder).read(), sizes_in(folder)
        if not current.node:  # it never ran, so its ledger does not say
            current.node, current.scope = home.id, str(home.scope)
        if json:
            sizes = {
                part: {source: asdict(size) for source, size in by_source.items()}
                for part, by_source in text.items()
            }
            print_json(current.to_json() | {"text": sizes})
            return
        table = Table(show_header=False, box=None)
        rows = [("node", f"{home.certificate.name} ({home.certificate.role})"), *_rows(current)]
        for part, by_source in text.items():
            sizes_of_part = "; ".join(_size(source, size) for source, size in by_source.items())
            rows.append((f"text: {part}", sizes_of_part))
        rows += retention_lines(folder, find_config(node, nodes))
        for label, value in rows:
            table.add_row(f"[dim]{label}[/]", str(value))
        console.print(table)


def _rows(current: Status) -> list[tuple[str, object]]:
    """Label and value of each line of a status, in reading order."""
    return [
        ("scope", current.scope),
        ("version", current.version),
        ("round", f"{current.round}{' (open)' if current.round_open else ''}"),
        ("members", _members(current) or "none"),
        ("tolerates", f"{current.tolerates} malicious"),
        ("accepted", f"{current.accepted} ({current.late} late)"),
        ("outvoted", sum(current.outvoted.values())),
        ("refused", _counts(current.refused)),
        ("at the door", _counts(current.door)),
        ("releases", _counts(current.releases)),
        ("probe loss", _change(current.first_loss, current.loss)),
        *((f"probes: {name}", _probed(probed)) for name, probed in current.sources.items()),
        ("trained", f"{current.trained_rounds} rounds, {current.trained_tokens:,} tokens"),
    ]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _members(current: Status) -> str:
    mark = dict.fromkeys(current.revoked, " (revoked)")
    return ", ".join(sorted(name + mark.get(child, "") for child, name in current.members.items()))


def _size(source: str, size: Size) -> str:
    return f"{source} {size.documents:,} documents, {size.bytes:,} bytes"


def _probed(probed: Probed) -> str:
    return f"{probed.kind}, {_change(probed.first, probed.now)}, {probed.probes} probes"


def _change(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return "not measured yet"
    return f"{before:.3f} → {after:.3f} nats per token"
