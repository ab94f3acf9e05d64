"""``banyan node suspend | resume``: pause a child's membership, and let it go on."""

from __future__ import annotations

from pathlib import Path

import typer

from nodes.cli.find import (
    ChildArgument,
    NodeOption,
    NodesOption,
    decide_about,
)
from nodes.cli.output import AsJson, console, one_sentence, print_json
from nodes.cli.renamed import RenamedOptions

app = typer.Typer()


@app.command("suspend", cls=RenamedOptions)
def suspend_(
    child: ChildArgument,
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Pause a child's membership: its parent --node hears nothing of it until it is resumed.

    The parent may be running. The child gets no tasks, and an update of it that waits is dropped;
    it keeps its name and its place. `banyan node resume` lets it go on, `banyan node revoke` ends
    its membership. What it added to releases stays there.

    Example: banyan node suspend device-4 --node /en/healthcare/cardiology --nodes runs/demo/nodes
    """
    from nodes.trust.enrolment import suspend

    with one_sentence():
        scope, child_id = decide_about(child, node, nodes, suspend)
        if json:
            print_json({"scope": scope, "suspended": child_id})
            return
        console.print(
            f"{child} ({child_id[:12]}) is suspended: {scope} does not hear it until "
            "`banyan node resume`.",
            soft_wrap=True,
        )


@app.command("resume", cls=RenamedOptions)
def resume_(
    child: ChildArgument,
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Let a suspended child go on: its parent --node asks it again from the present round on.

    The parent may be running. Nothing is pardoned: what counted against the child still does.

    Example: banyan node resume device-4 --node /en/healthcare/cardiology --nodes runs/demo/nodes
    """
    from nodes.trust.enrolment import resume

    with one_sentence():
        scope, child_id = decide_about(child, node, nodes, resume)
        if json:
            print_json({"scope": scope, "resumed": child_id})
            return
        console.print(f"{child} ({child_id[:12]}) is heard at {scope} again.", soft_wrap=True)
