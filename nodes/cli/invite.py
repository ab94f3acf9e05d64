"""``banyan node invite | approve | dismiss | invitations``: let nodes in with a token."""

from __future__ import annotations

import datetime
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodes.cli.find import NodeOption, NodesOption, find, find_config, opened
from nodes.cli.output import AsJson, console, errors, one_sentence, print_json

if TYPE_CHECKING:
    from nodes.peers.joining.invitations import Invitation

app = typer.Typer()

_QUIET_ZONE = 2
"""Modules left free around the code; a camera needs some."""

WhoArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The node's name, or at least six characters of the invitation's id."
    ),
]


@app.command("invite")
def invite(
    scope: Annotated[
        str,
        typer.Option(
            help="The scope of the new node, such as /en/healthcare. Default: for a device, that "
            "of the parent.",
            show_default=False,
        ),
    ] = "",
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    device: Annotated[
        bool, typer.Option("--device", help="For a device below the scope, not the scope's node.")
    ] = False,
    name: Annotated[
        str, typer.Option(help="What the new node must be called. Default: it says itself.")
    ] = "",
    rank: Annotated[
        int | None, typer.Option(min=1, help="How many rows of the basis it trains; default: all.")
    ] = None,
    hours: Annotated[float, typer.Option(help="How long the invitation holds, 24 at most.")] = 24,
    approve: Annotated[
        bool | None,
        typer.Option(
            "--approve/--no-approve",
            help="Whether a person approves whoever comes. Default: for all but devices.",
        ),
    ] = None,
    address: Annotated[
        list[str] | None,
        typer.Option(
            help="Where the new node reaches this one's door, HOST or HOST:PORT; may be "
            "repeated. Default: [downlink] names, else this machine's addresses."
        ),
    ] = None,
    qr: Annotated[
        bool | None,
        typer.Option("--qr/--no-qr", help="Show a QR code; default: on a terminal that can."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Print a token with which one new node joins below the parent --node.

    Whoever has the token may use it, once. The parent must be running when the new node joins.
    Where the output goes into a file or another command, it is the token alone.

    Examples:
      banyan node invite --scope /en/healthcare/cardiology --device
      banyan node join $(banyan node invite --node runs/en --device) runs/clinic
    """
    from nodes.config.addresses import Address, parse_reachable
    from nodes.config.files import load_config
    from nodes.config.peer_ports import peer_addresses, peer_ports
    from nodes.errors import NodeError
    from nodes.peers.joining.desk import invite as make
    from nodes.peers.joining.invitations import Invitations
    from nodes.trust.enrolment import require_place
    from protocol import Role, Scope

    with one_sentence():
        config = load_config(find_config(node, nodes))
        role = Role.DEVICE if device else Role.INTERIOR
        if not (scope or device):
            raise NodeError("usage", "Name the scope of the new node: --scope /en/healthcare.")
        with opened(config.state) as parent:
            place = Scope.parse(scope) if scope else parent.home.scope
            require_place(parent.home, place, role)
            door = peer_ports(parent.home, config).door
            given = dict.fromkeys(str(parse_reachable(one, door)) for one in address or ())
            reached = tuple(given) or peer_addresses(parent.home, config, door)
            # A token holds few; a machine reaches itself also at its other addresses.
            reached = tuple(sorted(reached, key=lambda one: Address.parse(one).is_loopback))
            if not reached:
                raise NodeError(
                    "no-address",
                    "This machine has no address that another one could reach: connect it to a "
                    "network, set [downlink] names, or give --address.",
                )
            with Invitations(config.state) as invitations:
                invitation, token = make(
                    parent,
                    invitations,
                    scope=place,
                    role=role,
                    addresses=reached,
                    name=name,
                    rank=rank,
                    hours=hours,
                    by_person=approve,
                )
        word = token.encode()
        if json:
            print_json(
                {**_described(invitation), "token": word, "addresses": list(token.addresses)}
            )
            return
        if qr or (qr is None and _can_show(word)):
            _show(word)
        who = f"the device {name}" if name and device else "a device" if device else f"{place}"
        line = f"For {who}, once, until {_time(invitation.expires_ms)}"
        if invitation.by_person:
            line += "; then a person here approves it: banyan node approve NAME"
        if not console.is_terminal:
            errors.print(f"{line}.", soft_wrap=True)
            console.print(word, soft_wrap=True)
            return
        console.print(f"{line}. On the new machine:", soft_wrap=True)
        console.print(f"banyan node join {word}", soft_wrap=True)


@app.command("approve")
def approve(
    name: WhoArgument, node: NodeOption = None, nodes: NodesOption = Path(), json: AsJson = False
) -> None:
    """Let in the node that came with an invitation and waits for a person.

    The parent may be running; the node goes on by itself.

    Example: banyan node approve cardiology --node /en/healthcare
    """
    from nodes.peers.joining.desk import approve as let_in

    with one_sentence():
        invitation = _decide(find(node, nodes), name, let_in)
        if json:
            print_json(_described(invitation))
            return
        console.print(f"{invitation.called} is a member of {invitation.scope} now.", soft_wrap=True)


@app.command("dismiss")
def dismiss(
    name: WhoArgument, node: NodeOption = None, nodes: NodesOption = Path(), json: AsJson = False
) -> None:
    """Refuse a node that waits for a person, or take back an invitation that nobody used.

    Example: banyan node dismiss cardiology --node /en/healthcare
    """
    from nodes.peers.joining.desk import dismiss as refuse

    with one_sentence():
        invitation = _decide(find(node, nodes), name, refuse)
        if json:
            print_json(_described(invitation))
            return
        console.print(f"The invitation of {invitation.called} is {invitation.state.value}.")


@app.command("invitations")
def invitations_(
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were used or ended.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List invitations that are open, and nodes that wait for a person.

    Example: banyan node invitations --node /en/healthcare
    """
    from rich.table import Table

    from nodes.machine.clock import SystemClock
    from nodes.peers.joining.invitations import Invitations

    with one_sentence():
        folder, now = find(node, nodes), SystemClock().now_ms()
        with Invitations(folder, read_only=True) as kept:
            listed = kept.all() if everything else kept.live(now)
        if json:
            print_json([_described(invitation) for invitation in listed])
            return
        if not listed:
            console.print("No invitation is open, and nobody waits.")
            return
        table = Table(box=None, pad_edge=False)
        for title in ("id", "for", "name", "state", "until", "asked"):
            table.add_column(title)
        for one in listed:
            ended = not one.is_live(now) and one.state.value == "open"
            table.add_row(
                one.id.hex(),
                f"{one.role} of {one.scope}",
                one.asked or one.name or "–",
                "ended" if ended else one.state.value,
                _time(one.expires_ms),
                _time(one.asked_ms) if one.asked_ms else "–",
            )
        console.print(table)


def _decide(folder: Path, name: str, decide: Any) -> Invitation:
    from nodes.peers.joining.invitations import Invitations

    with opened(folder) as parent, Invitations(folder) as invitations:
        decided: Invitation = decide(parent, invitations, name)
        return decided


def _described(invitation: Invitation) -> dict[str, Any]:
    """Describe an invitation for programs; its secret is not among it."""
    return {
        "id": invitation.id.hex(),
        "scope": str(invitation.scope),
        "role": invitation.role.value,
        "name": invitation.asked or invitation.name or None,
        "rank": invitation.rank,
        "by_person": invitation.by_person,
        "state": invitation.state.value,
        "node": invitation.key or None,
        "created_ms": invitation.created_ms,
        "expires_ms": invitation.expires_ms,
        "asked_ms": invitation.asked_ms or None,
    }


def _time(ms: int) -> str:
    return datetime.datetime.fromtimestamp(ms / 1000).astimezone().strftime("%Y-%m-%d %H:%M")


# -- the code -----------------------------------------------------------------------------------


def _can_show(word: str) -> bool:
    """Whether stdout is a terminal that shows the code as a whole."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        return False
    try:
        "▀▄█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    columns, lines = shutil.get_terminal_size()
    side = _code(word).symbol_size(border=_QUIET_ZONE)[0]
    return bool(side <= columns and side // 2 + 4 <= lines)


def _show(word: str) -> None:
    _code(word).terminal(compact=True, border=_QUIET_ZONE)


def _code(word: str) -> Any:
    import segno

    return segno.make(word, error="l", micro=False)
