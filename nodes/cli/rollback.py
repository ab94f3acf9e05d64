"""``banyan node rollback | withdraw``: undo releases, or one contributor's part in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nodes.cli.find import ChildArgument, NodeOption, NodesOption, find, find_child, opened
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.renamed import RenamedOptions

app = typer.Typer()


@app.command("rollback", cls=RenamedOptions)
def rollback(
    to: Annotated[int, typer.Option("--to", min=1, help="The version to bring back.")],
    cascade: Annotated[
        bool,
        typer.Option("--cascade", help="Also withdraw its promotions from the scope above."),
    ] = False,
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Publish an older state of a scope as a new signed release; the tree below follows.

    Nodes below undo the same releases. Text and updates stay where they are. The node may be
    running: it continues from the new release.

    Example: banyan node rollback --node /en/healthcare --to 3 --cascade --nodes runs/demo/nodes
    """
    from nodes.errors import NodeError
    from nodes.releases.rollback import promoted_since, roll_back

    with one_sentence():
        folder = find(node, nodes)
        if not (folder / "ledger.sqlite").exists():  # opening it would make one
            raise NodeError("no-version", f"The node in {folder} has released nothing yet.")
        with opened(folder) as owner:
            promoted = promoted_since(owner, to)
            before = owner.state.own.version
            version = roll_back(owner, to)
            scope, identity = str(owner.home.scope), owner.home.id
            above = owner.home.parent
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
            f"{scope} is at version {version}, its state at version {to}; "
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


@app.command("withdraw", cls=RenamedOptions)
def withdraw(
    child: ChildArgument,
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Compute a scope's rounds again without one contributor, and release the difference.

    Use it for an erasure request: it deletes the contributor's stored updates and the text it
    shared. What others learned on top of them stays, and so do older releases and the membership.

    Example: banyan node withdraw device-4 --node /en/healthcare/cardiology --nodes runs/demo/nodes
    """
    with one_sentence():
        folder = find(node, nodes)
        result = _withdraw(folder, find_child(folder, child), None)
        if json:
            print_json(result)
            return
        again = ", ".join(map(str, result["recomputed"]))
        console.print(
            f"{result['scope']} is at version {result['version']}: "
            f"{f'versions {again}' if again else 'nothing had to be'} computed again without "
            f"{child}; {result['deleted']} stored updates and {result['forgotten']} shared "
            "documents deleted."
        )
        if result["beyond"]:
            console.print(
                f"Versions {', '.join(map(str, result['beyond']))} counted {child} too and stay as "
                "they are: the updates of their rounds are kept no longer."
            )
        if result["kept"]:
            console.print(
                f"{result['kept']} stored updates stay: an older release is made of the same bytes."
            )


def _withdraw(folder: Path, child: str, versions: list[int] | None) -> dict[str, Any]:
    from dataclasses import asdict

    from nodes.parent import withdrawal
    from protocol import NodeId

    with opened(folder) as owner:
        done = withdrawal.withdraw(owner, NodeId(child), versions)
        return asdict(done) | {"scope": str(owner.home.scope)}
