"""The root of the command line and the entry point ``banyan``."""

from __future__ import annotations

import typer

from nodes.cli import adapter, ask, network, node
from nodes.cli.plugins import add_plugins, installed
from nodes.machine.logs import configure

app = typer.Typer(
    name="banyan",
    help="A language model as an on-demand service that many parties improve together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(network.app, name="network")
app.add_typer(node.app, name="node")
app.add_typer(adapter.app, name="adapter")
app.add_typer(ask.app)
add_plugins(app, installed())


def main() -> None:
    """Send logs to stderr, so that stdout holds nothing but results, and run the command."""
    configure(None, "warning", "banyan")
    app()
