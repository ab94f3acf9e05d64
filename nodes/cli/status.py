"""``banyan node status``: what a node's ledger says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer
from rich.table import Table

from nodes.cli.find import NodeOption, NodesOption, find, find_config
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.renamed import RenamedOptions
from nodes.cli.status_lines import lines, membership_line, text_lines, trouble_lines
from nodes.cli.verify import retention_lines

app = typer.Typer()


@app.command("status", cls=RenamedOptions)
def status(node: NodeOption = None, nodes: NodesOption = Path(), json: AsJson = False) -> None:
    """Show what a node's ledger says: version, rounds, members, refusals, losses, text.

    Troubles are what its process could not do when it last ran. The losses are those of each source
    of probes; the text is that of the replay buffer. Suspended and revoked children are marked.

    Example: banyan node status --node runs/demo/nodes/en-healthcare --json
    """
    from nodes.dashboard.status import StatusReader
    from nodes.machine.clock import SystemClock
    from nodes.machine.troubles import TROUBLES_FILE, read_troubles
    from nodes.state.home import open_home
    from nodes.text.replay_buffer import sizes_in

    with one_sentence():
        folder, now = find(node, nodes), SystemClock().now_ms()
        home = open_home(folder, None)  # of a membership that lapsed as well
        until_ms = home.certificate.valid_until_ms
        current, text = StatusReader(folder).read(), sizes_in(folder)
        troubles = read_troubles(folder / TROUBLES_FILE)
        if not current.node:  # it never ran, so its ledger does not say
            current.node, current.scope = home.id, str(home.scope)
        if json:
            sizes = {
                part: {source: asdict(size) for source, size in by_source.items()}
                for part, by_source in text.items()
            }
            stand = [asdict(t) | {"stands_ms": max(now - t.since_ms, 0)} for t in troubles]
            print_json(
                current.to_json()
                | {"text": sizes, "troubles": stand, "membership_until_ms": until_ms}
            )
            return
        table = Table(show_header=False, box=None)
        table.add_column(style="dim")
        table.add_column()
        table.add_row("node", f"{home.certificate.name} ({home.certificate.role})")
        table.add_row("membership", membership_line(until_ms, now))
        for several in (
            trouble_lines(troubles, now),
            lines(current, now),
            text_lines(text),
            retention_lines(folder, find_config(node, nodes)),
        ):
            for label, value in several:
                table.add_row(label, str(value))
        console.print(table)
