"""``banyan node publish``: release an adapter from a file, because a person decided so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nodes.cli.find import NodeOption, NodesOption, find, opened
from nodes.cli.output import AsJson, console, one_sentence, print_json, read_file
from nodes.cli.renamed import RenamedOptions

app = typer.Typer()


@app.command("publish", cls=RenamedOptions)
def publish(
    file: Annotated[
        Path,
        typer.Argument(
            help="An adapter in this network's coordinates, safetensors. "
            "Of a PEFT adapter `banyan adapter import` makes one."
        ),
    ],
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Add an adapter from a file to a scope's own, as a new signed release.

    The gate is not asked: a person decides. The tree below follows, and `banyan node rollback`
    takes it back. The node may be running. Only the size of the adapter is checked: the file does
    not say in which coordinates it was made.

    Example: banyan node publish runs/refusal/adapter.safetensors --node / --nodes runs/demo/nodes
    """
    from nodes.errors import NodeError
    from nodes.model.peft_import import is_peft
    from nodes.releases.publish import publish_by_hand

    with one_sentence():
        if is_peft(file):
            folder = file if file.is_dir() else file.parent
            raise NodeError(
                "peft-adapter",
                f"{file} is a PEFT adapter, not one in this network's coordinates. `banyan adapter "
                f"import {folder} --to adapter.safetensors` projects it into them, says what that "
                "loses, and writes the file to publish.",
            )
        data = read_file(file, "no-adapter")
        folder = find(node, nodes)
        with opened(folder) as owner:
            version = publish_by_hand(owner, data)
            scope, release = str(owner.home.scope), owner.state.own.published[version]
            result: dict[str, Any] = {
                "scope": scope,
                "version": version,
                "added": release.moved,
                "release": release.held.release,
            }
        if json:
            print_json(result)
            return
        console.print(
            f"{scope} is at version {version}: {file} was added. "
            f"`banyan node rollback --node {folder} --to {version - 1}` takes it back.",
            soft_wrap=True,
        )
