"""The root of the command line; ``simulations.cli`` adds the demo and the benches to it."""

from __future__ import annotations

import typer

from nodes.cli import ask, network, node

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
app.command("ask")(ask.ask)
