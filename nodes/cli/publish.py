"""``banyan node publish``: release an adapter from a file, because a person decided so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nodes.cli.find import NodesOption, find, opened
from nodes.cli.output import AsJson, console, one_sentence, print_json

app = typer.Typer()


@app.command("publish")
def publish(
    file: Annotated[
        Path, typer.Argument(help="An adapter in this network's coordinates, safetensors.")
    ],
    where: Annotated[
        str, typer.Option("--at", help="The scope or the state folder of the node that owns it.")
    ],
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Add an adapter from a file to a scope's own, as a new signed release.

    The gate is not asked: a person decides. The tree below follows, and `banyan node rollback`
    takes it back. The node may be running. That the file was made in this network's coordinates
    cannot be seen from it; only its size is checked.

    Example: banyan node publish runs/refusal/adapter.safetensors --at / --nodes runs/demo/nodes
    """
    from nodes.errors import NodeError
    from nodes.releases.publish import publish_by_hand

    with one_sentence():
        try:
            data = file.read_bytes()
        except OSError as error:
            raise NodeError("no-adapter", f"{file} cannot be read: {error.strerror}.") from None
        with opened(find(where, nodes)) as node:
            version = publish_by_hand(node, data)
            scope, state = str(node.home.scope), node.state
            result: dict[str, Any] = {
                "scope": scope,
                "version": version,
                "added": state.published[version].moved,
                "release": state.published[version].held.release,
            }
        if json:
            print_json(result)
            return
        console.print(
            f"{scope} is at version {version}: {file} was added. "
            f"`banyan node rollback {scope} --to {version - 1}` takes it back."
        )
