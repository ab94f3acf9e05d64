"""``banyan node request | enrol | join | revoke``: who is a member of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nodes.cli.find import NodesOption, find, member, opened
from nodes.cli.output import AsJson, console, one_sentence, print_json

app = typer.Typer()

ScopeArgument = Annotated[str, typer.Option(help="The scope, such as /en/healthcare.")]
DeviceOption = Annotated[
    bool, typer.Option("--device", help="A device below the scope, not the scope's own node.")
]


@app.command("request")
def request(
    folder: Annotated[Path, typer.Argument(help="The new node's state folder.")],
    scope: ScopeArgument,
    name: Annotated[str, typer.Option(help="A name for people.")] = "",
    device: DeviceOption = False,
) -> None:
    """Make a new node's keys and the request that its parent's operator signs.

    Example: banyan node request runs/clinic --scope /en/healthcare/cardiology --device
    """
    from nodes.trust.enrolment import make_request
    from protocol import Role, Scope

    with one_sentence():
        role = Role.DEVICE if device else Role.INTERIOR
        make_request(folder, name or folder.name, Scope.parse(scope), role)
        console.print(f"Give {folder / 'request.json'} to the operator of the parent.")


@app.command("enrol")
def enrol(
    parent: Annotated[Path, typer.Argument(help="The parent's state folder.")],
    request_file: Annotated[
        Path | None, typer.Option("--request", help="A request made on another machine.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write the bundle.")] = None,
    new: Annotated[
        Path | None, typer.Option(help="Or: a new node's folder on this machine.")
    ] = None,
    scope: Annotated[str, typer.Option(help="With --new: the scope.")] = "",
    name: Annotated[str, typer.Option(help="With --new: a name for people.")] = "",
    device: DeviceOption = False,
    address: Annotated[
        str, typer.Option(help="Where the child reaches the parent; default: from its node.toml.")
    ] = "",
) -> None:
    """Sign a new member's certificate, from its request or for a new folder here.

    Examples:
      banyan node enrol runs/cardiology --new runs/clinic --scope /en/healthcare/cardiology --device
      banyan node enrol runs/cardiology --request request.json --out clinic.bundle
    """
    from nodes.config.files import load_config, parent_address, write_config
    from nodes.errors import NodeError
    from nodes.machine.clock import SystemClock
    from nodes.machine.files import write_file
    from nodes.state.home import open_home
    from nodes.state.node import Node
    from nodes.trust.enrolment import enrol as sign
    from nodes.trust.enrolment import join, make_request
    from protocol import Role, Scope

    with one_sentence():
        clock = SystemClock()
        home = open_home(parent, clock.now_ms())
        config = load_config(parent / "node.toml")
        at = address or parent_address(home, config)
        node = Node(home, clock)
        try:
            if new is not None and request_file is None:
                role = Role.DEVICE if device else Role.INTERIOR
                asked = make_request(new, name or new.name, Scope.parse(scope), role)
                child, _ = join(new, sign(node, asked, at), clock)
                written = write_config(child, base=config.model.base, uplink=at)
                console.print(f"Enrolled {child.certificate.name} at {home.scope}: {written}")
            elif request_file is not None and out is not None and new is None:
                write_file(out, sign(node, request_file.read_bytes(), at))
                console.print(f"Give {out} to the new node: banyan node join FOLDER {out}")
            else:
                raise NodeError(
                    "usage", "Give either --new FOLDER --scope SCOPE, or --request FILE --out FILE."
                )
        finally:
            node.close()


@app.command("join")
def join_(
    folder: Annotated[Path, typer.Argument(help="The folder in which the request was made.")],
    bundle: Annotated[Path, typer.Argument(help="The bundle from the parent's operator.")],
    base: Annotated[Path, typer.Option(help="The network's base on this machine.")],
) -> None:
    """Become a member with the bundle that the parent's operator signed.

    Example: banyan node join runs/clinic clinic.bundle --base models/smollm2
    """
    from nodes.config.files import write_config
    from nodes.machine.clock import SystemClock
    from nodes.trust.enrolment import join

    with one_sentence():
        home, address = join(folder, bundle.read_bytes(), SystemClock())
        config = write_config(home, base=base.resolve(), uplink=address)
        console.print(f"Joined as {home.certificate.name}: {config}")


@app.command("revoke")
def revoke_(
    who: Annotated[str, typer.Argument(help="The child: its name or the start of its id.")],
    where: Annotated[
        str, typer.Option("--at", help="The scope or the state folder of its parent.")
    ],
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Take a child's membership back: its parent hears it no more.

    The parent may be running: it shuts its door. What the child added to releases stays (`banyan
    node withdraw` takes that out); to enrol it again lets it in and pardons it.

    Example: banyan node revoke device-4 --at /en/healthcare/cardiology --nodes runs/demo/nodes
    """
    from nodes.trust.enrolment import revoke
    from protocol import NodeId

    with one_sentence():
        folder = find(where, nodes)
        child = NodeId(member(folder, who))
        with opened(folder) as node:
            revoke(node, child)
            scope = str(node.home.scope)
        if json:
            print_json({"scope": scope, "revoked": child})
            return
        console.print(f"{who} is no member of {scope} any more.")
