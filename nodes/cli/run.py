"""``banyan node run``: run one node as this process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodes.cli.output import one_sentence

app = typer.Typer()


@app.command("run")
def run(
    config: Annotated[Path, typer.Option(help="The node's configuration.")] = Path("node.toml"),
    with_parent: Annotated[
        bool, typer.Option("--with-parent", help="Stop when the process that started this ends.")
    ] = False,
) -> None:
    """Run a node until SIGTERM or Ctrl-C. After a crash it goes on from its ledger.

    Example: banyan node run --config runs/clinic/node.toml
    """
    from nodes.daemon import run as run_daemon

    with one_sentence():
        run_daemon(config, with_parent=with_parent)
