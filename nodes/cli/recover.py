"""``banyan node recover``: rebuild a lost ledger from what signatures prove."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodes.cli.find import LEAST_ID, NodeOption, NodesOption, find, open_home_in
from nodes.cli.output import AsJson, console, one_sentence, print_json

if TYPE_CHECKING:
    from protocol import Member

app = typer.Typer()


@app.command("recover")
def recover(
    artefacts: Annotated[
        list[Path] | None,
        typer.Option("--artefacts", help="A folder of another node that may hold what is missing."),
    ] = None,
    member: Annotated[
        list[str] | None,
        typer.Option("--member", help="A child that is still a member: its name or id."),
    ] = None,
    all_members: Annotated[
        bool, typer.Option("--all-members", help="Every child of whom no revocation is known is.")
    ] = False,
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Rebuild the ledger of a node that lost it, from signed artefacts; versions never go back.

    Revocations cannot be proven: children stay shut out unless --member or --all-members says that
    they belong. Others can be enrolled again later. The old ledger is put aside.

    Example: banyan node recover --node runs/en --member clinic
    """
    from nodes.machine.clock import SystemClock
    from nodes.releases import recover as recovering

    names = set(member or ())

    def is_confirmed(child: Member) -> bool:
        by_id = any(len(n) >= LEAST_ID and child.node.startswith(n) for n in names)
        return all_members or child.name in names or by_id

    with one_sentence():
        home = open_home_in(find(node, nodes))
        done = recovering.recover(home, SystemClock(), artefacts or (), is_confirmed)
    if json:
        print_json(asdict(done))
        return
    console.print(
        f"{home.scope} is at version {done.version}, {done.proven} of its releases are proven."
    )
    if home.parent is not None and not done.chain:
        console.print("The chain above is not known again: the parent sends it with the next task.")
    for what, children in (
        ("Members", done.confirmed),
        (
            "Unproven, and shut out until they are enrolled again",
            done.unconfirmed,
        ),
        ("Suspended as before", done.suspended),
        ("Revoked", done.revoked),
    ):
        if children:
            console.print(f"{what}: {', '.join(children)}.", markup=False)
    if done.ledger:
        console.print(f"The old ledger is {done.ledger}.", markup=False, soft_wrap=True)
