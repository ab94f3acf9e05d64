"""``banyan node rollback | withdraw``: undo releases, or one contributor's part in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nodes.cli.find import NodesOption, WhereArgument, find, member, opened
from nodes.cli.output import AsJson, console, one_sentence, print_json

app = typer.Typer()


@app.command("rollback")
def rollback(
    where: WhereArgument,
    to: Annotated[int, typer.Option("--to", min=1, help="The version to bring back.")],
    cascade: Annotated[
        bool, typer.Option("--cascade", help="Also withdraw from the scopes above what went up.")
    ] = False,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Publish an older state of a scope as a new signed release; the tree below follows.

    Nodes below take back what the undone releases did to them. Text and updates stay where they
    are. The node may be running: it goes on from the new release.

    Example: banyan node rollback /en/healthcare --to 3 --cascade --nodes runs/demo/nodes
    """
    from nodes.releases.rollback import promoted_since, roll_back

    with one_sentence():
        folder = find(where, nodes)
        with opened(folder) as node:
            promoted = promoted_since(node, to)
            before = node.state.version
            version = roll_back(node, to)
            scope, identity = str(node.home.scope), node.home.node
            above = node.home.parent
        result: dict[str, Any] = {
            "scope": scope,
            "version": version,
            "undone": [to + 1, before],
            "promoted": promoted,
            "withdrawn": None,
        }
        if cascade and promoted and above is not None:
            result["withdrawn"] = _withdraw(find(str(above.scope), nodes), identity, promoted)
        if json:
            print_json(result)
            return
        console.print(
            f"{scope} is at version {version}: as it was at {to}; "
            f"versions {to + 1} to {before} stand no longer."
        )
        if promoted and not cascade:
            console.print(
                f"{above.scope if above else ''} counted promotions of this scope in its versions "
                f"{', '.join(map(str, promoted))}. With --cascade they are withdrawn there too."
            )
        if result["withdrawn"]:
            done = result["withdrawn"]
            console.print(
                f"{done['scope']} is at version {done['version']}, computed again without them."
            )


@app.command("withdraw")
def withdraw(
    who: Annotated[str, typer.Argument(help="The contributor: its name or the start of its id.")],
    where: Annotated[
        str, typer.Option("--from", help="The scope or the state folder of its parent.")
    ],
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Compute a scope's rounds again without one contributor, and release the difference.

    For an erasure request: its stored updates and the text it shared are deleted. What others
    learned later on top of them stays, as do older releases; so does the contributor's membership.

    Example: banyan node withdraw device-4 --from /en/healthcare/cardiology --nodes runs/demo/nodes
    """
    with one_sentence():
        folder = find(where, nodes)
        result = _withdraw(folder, member(folder, who), None)
        if json:
            print_json(result)
            return
        again = ", ".join(map(str, result["recomputed"]))
        console.print(
            f"{result['scope']} is at version {result['version']}: "
            f"{f'versions {again}' if again else 'nothing had to be'} computed again without "
            f"{who}; {result['deleted']} stored updates and {result['forgotten']} shared documents "
            "deleted."
        )
        if result["kept"]:
            console.print(
                f"{result['kept']} stored updates stay: an older release is made of the same bytes."
            )


def _withdraw(folder: Path, child: str, versions: list[int] | None) -> dict[str, Any]:
    from dataclasses import asdict

    from nodes.parent import withdrawal
    from protocol import NodeId

    with opened(folder) as node:
        done = withdrawal.withdraw(node, NodeId(child), versions)
        return asdict(done) | {"scope": str(node.home.scope)}
