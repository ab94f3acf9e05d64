"""``banyan node run``: run one node as this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodes.cli.find import NodeOption, NodesOption, find_config
from nodes.cli.output import one_sentence
from nodes.cli.renamed import RenamedOptions

app = typer.Typer()


@app.command("run", cls=RenamedOptions)
def run(
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Stop when the process that started this ends.")
    ] = False,
) -> None:
    """Run a node until SIGTERM or Ctrl-C. After a crash it continues from its ledger.

    Example: banyan node run --node runs/clinic
    """
    from nodes.daemon import run as run_daemon

    with one_sentence():
        run_daemon(find_config(node, nodes), with_parent=with_parent)
