"""The root of the command line and the entry point ``banyan``."""

from __future__ import annotations

from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from nodes.cli import adapter, ask, network, node, tree
from nodes.cli.output import one_sentence, write_any_letter
from nodes.cli.plugins import add_plugins, installed
from nodes.machine.logs import configure


class _Root(TyperGroup):
    """The group of all commands: whatever goes wrong below ends in one sentence."""

    def invoke(self, ctx: click.Context) -> Any:
        with one_sentence():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Root,
    name="banyan",
    help="A language model as an on-demand service that many parties improve together.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _for_all(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="BANYAN_DEBUG", help="Show of an error where in the code it happened."
        ),
    ] = False,
) -> None:
    """A language model as an on-demand service that many parties improve together."""


app.add_typer(network.app, name="network")
app.add_typer(node.app, name="node")
app.add_typer(adapter.app, name="adapter")
app.add_typer(ask.app)
app.add_typer(tree.app)
add_plugins(app, installed())


def main() -> None:
    """Send logs to stderr, so that stdout holds nothing but results, and run the command."""
    write_any_letter()
    configure(None, "warning", "banyan")
    app()
