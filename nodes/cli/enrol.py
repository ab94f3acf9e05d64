"""``banyan node request | enrol | revoke``: who is a member of a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nodes.cli.find import (
    ChildArgument,
    NodeOption,
    NodesOption,
    decide_about,
    find_config,
    open_home_in,
    opened,
)
from nodes.cli.listening import EVERYWHERE
from nodes.cli.output import AsJson, check_place, console, one_sentence, print_json, read_file
from nodes.cli.own_text import ProbesOption, TextOption, own_text
from nodes.cli.renamed import RenamedOptions

app = typer.Typer()

DeviceOption = Annotated[
    bool, typer.Option("--device", help="Make it a device below the scope, not the scope's node.")
]


@app.command("request")
def request(
    folder: Annotated[Path, typer.Argument(help="The new node's state folder.")],
    scope: Annotated[str, typer.Option(help="The scope, such as /en/healthcare.")],
    name: Annotated[str, typer.Option(help="A name for people; default: the folder's.")] = "",
    device: DeviceOption = False,
    json: AsJson = False,
) -> None:
    """Make a new node's keys and the request that its parent's operator signs.

    Example: banyan node request runs/clinic --scope /en/healthcare/cardiology --device
    """
    from nodes.trust.enrolment import make_request
    from protocol import Role, Scope

    with one_sentence():
        role = Role.DEVICE if device else Role.INTERIOR
        make_request(folder, name or folder.resolve().name, Scope.parse(scope), role)
        file = folder / "request.json"
        if json:
            print_json({"request": str(file)})
            return
        console.print(f"Give {file} to the operator of the parent.", soft_wrap=True)


@app.command("enrol", cls=RenamedOptions)
def enrol(
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    request_file: Annotated[
        Path | None, typer.Option("--request", help="A request made on another machine.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="With --request: where to write the bundle.")
    ] = None,
    new: Annotated[
        Path | None, typer.Option(help="Instead of --request: a new node's folder here.")
    ] = None,
    scope: Annotated[str, typer.Option(help="With --new: the scope.")] = "",
    name: Annotated[str, typer.Option(help="With --new: a name for people.")] = "",
    device: DeviceOption = False,
    address: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the child reaches the parent, HOST:PORT; may be repeated. Default: from "
            "its node.toml, or this machine's addresses."
        ),
    ] = None,
    text: TextOption = None,
    probes: ProbesOption = None,
    json: AsJson = False,
) -> None:
    """Sign a new child's certificate as its parent --node.

    The child made its request on another machine, or is made here in a new folder.

    Examples:
      banyan node enrol --node runs/heart --new runs/clinic --scope /en/healthcare/heart --device
      banyan node enrol --node runs/heart --request request.json --out clinic.bundle
    """
    from nodes.config.addresses import Address, distinct, with_port
    from nodes.config.files import load_config, write_config
    from nodes.config.peer_ports import peer_ports
    from nodes.config.reach import give_address, present_addresses
    from nodes.errors import NodeError
    from nodes.machine.files import nothing_left, write_file
    from nodes.trust.enrolment import MAX_REQUEST_BYTES, enrol_folder, read_request, require_place
    from nodes.trust.enrolment import enrol as sign
    from protocol import Role, Scope

    with one_sentence():
        config, settings = load_config(find_config(node, nodes)), own_text(text, probes)
        home = open_home_in(config.state)  # opening more of it would make a ledger
        if new is not None and request_file is None:
            role, place = Role.DEVICE if device else Role.INTERIOR, Scope.parse(scope)
            require_place(home, place, role)
        elif request_file is not None and out is not None and new is None:
            bundle, request = out, read_file(request_file, "no-request", MAX_REQUEST_BYTES)
            asked = read_request(request)
            require_place(home, asked.scope, asked.role)
            check_place(bundle, "no-bundle")
        else:
            raise NodeError(
                "usage", "Give either --new FOLDER --scope SCOPE, or --request FILE --out FILE."
            )
        given = distinct(address or ())
        reached = given or present_addresses(home, config, local=new is not None)
        doors = with_port(reached, peer_ports(home, config).door)
        with opened(config.state) as parent:
            if new is not None:
                with nothing_left(new):
                    name = name or new.resolve().name
                    child = enrol_folder(parent, new, name, place, role, reached, doors)
                    host = config.downlink.host if config.downlink else EVERYWHERE
                    written = write_config(
                        child, base=config.model.base, uplink=reached, host=host, settings=settings
                    )
                result: dict[str, Any] = {"node": child.id, "config": str(written)}
                line = f"Enrolled {child.certificate.name} at {home.scope}: {written}"
            else:
                write_file(bundle, sign(parent, request, reached, doors=doors))
                result = {"bundle": str(bundle)}
                line = f"Give {bundle} to the new node: banyan node join FOLDER {bundle}"
                if all(Address.parse(one).is_loopback for one in reached):
                    line += (
                        f"\nOnly this machine reaches {', '.join(reached)}: see [downlink] host."
                    )
            members = len(parent.state.membership.active)
            tolerated = config.rounds.policy().tolerates(members)
            result |= {"addresses": list(reached), "members": members, "tolerates": tolerated}
            children = "1 child" if members == 1 else f"{members} children"
            line += f"\n{home.scope} has {children}, and tolerates {tolerated} malicious."
            for one in given:
                give_address(parent.home, one)  # the certificate must hold it
        if json:
            print_json(result)
            return
        console.print(line, soft_wrap=True)


@app.command("revoke", cls=RenamedOptions)
def revoke_(
    child: ChildArgument,
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
) -> None:
    """Take back a child's membership: its parent --node accepts nothing from it any more.

    The parent may be running. What the child added to releases stays there; `banyan node withdraw`
    takes it out. Enrolling the child again readmits it.

    Example: banyan node revoke device-4 --node /en/healthcare/cardiology --nodes runs/demo/nodes
    """
    from nodes.trust.enrolment import revoke

    with one_sentence():
        scope, child_id = decide_about(child, node, nodes, revoke)
        if json:
            print_json({"scope": scope, "revoked": child_id})
            return
        console.print(
            f"{child} ({child_id[:12]}) is no member of {scope} any more.", soft_wrap=True
        )
