"""Find the node that a command is about: the one place where ``--node`` and ``--nodes`` are read.

``--node`` is a node's folder, its ``node.toml``, or a scope, whose own node is looked up below
``--nodes`` (the current folder unless given). Without ``--node`` it is the node in the folder
``--nodes``, or else the only node below it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodes.cli.output import say

if TYPE_CHECKING:
    from nodes.state.home import Home
    from nodes.state.node import Node
    from protocol import NodeId

NodeOption = Annotated[
    str | None,
    typer.Option(
        "--node",
        metavar="NODE",
        help="The node: its folder, its node.toml, or its scope, looked up below --nodes. "
        "Default: the node in the folder --nodes, else the only one below it.",
        show_default=False,
    ),
]
NodesOption = Annotated[
    Path, typer.Option("--nodes", metavar="DIR", help="The folder in which nodes are looked up.")
]
ChildArgument = Annotated[
    str,
    typer.Argument(
        metavar="CHILD", help="The child: its whole name, or at least six characters of its id."
    ),
]

LEAST_ID = 6
"""Characters by which an id may be named; with fewer a slip of the hand names another child."""

_PARTS_OF_A_NODE = {"artefacts", "flower", "logs", "path", "tls"}


def find(node: str | None, nodes: Path) -> Path:
    """Return the state folder of the node that ``--node`` and ``--nodes`` name.

    Raises ``NodeError`` ``no-node`` when there is none, ``many-nodes`` when there are several.
    """
    if node is None:
        return _only(nodes)
    path = Path(node)
    if path.is_file():
        from nodes.config.files import load_config

        return load_config(path).state
    if _is_node(path):
        return path
    return _by_scope(node, nodes, or_device=False)


def find_config(node: str | None, nodes: Path) -> Path:
    """Return the ``node.toml`` of the node that ``--node`` and ``--nodes`` name.

    It may lie apart from the state folder, which it then names. Raises what ``find`` raises.
    """
    path = nodes / "node.toml" if node is None else Path(node)
    return path if path.is_file() else find(node, nodes) / "node.toml"


def find_copy(scope: str, nodes: Path) -> Path:
    """Return the folder of a scope's own node, or else of the only device of the scope.

    Raises what ``find`` raises.
    """
    return _by_scope(scope, nodes, or_device=True)


def find_child(folder: Path, child: str, *, active: bool = False) -> str:
    """Return the id of a node's child, from its whole name or the beginning of its id.

    Args:
        active: consider only children whose membership stands.

    Raises ``NodeError`` ``not-a-member``, or ``many-nodes`` when several match.
    """
    from nodes.cli.status_lines import told_apart
    from nodes.dashboard.status import StatusReader
    from nodes.errors import NodeError

    status = StatusReader(folder).read()
    names = {
        member: name
        for member, name in status.members.items()
        if not (active and member in status.revoked)
    }
    matching = [
        member
        for member, name in names.items()
        if child and (name == child or (len(child) >= LEAST_ID and member.startswith(child)))
    ]
    if not matching:
        raise NodeError(
            "not-a-member",
            f"No child of {folder} has the name {child!r} or an id that begins with it (at least "
            f"{LEAST_ID} characters); there are "
            f"{', '.join(sorted(told_apart(names).values())) or 'none'}.",
        )
    if len(matching) > 1:
        raise NodeError(
            "many-nodes",
            f"Several children of {folder} match {child!r}; use the id of one: "
            f"{', '.join(f'{member[:12]} ({names[member]})' for member in sorted(matching))}.",
        )
    return matching[0]


class opened:  # noqa: N801  reads as the statement it is
    """A node that is closed at the end of the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Node:
        from nodes.machine.clock import SystemClock
        from nodes.state.node import Node

        self._node = Node(open_home_in(self._folder), SystemClock())
        return self._node

    def __exit__(self, *_: object) -> None:
        self._node.close()


def open_home_in(folder: Path) -> Home:
    """Read and verify a state folder as of now."""
    from nodes.machine.clock import SystemClock
    from nodes.state.home import open_home

    return open_home(folder, SystemClock().now_ms())


def _is_node(folder: Path) -> bool:
    """Whether there is a node's key, so that what else may be missing is said of this folder."""
    return (folder / "identity.pem").is_file()


def _below(folder: Path) -> Iterator[Path]:
    """Yield every folder with an enrolled node, ``folder`` included; hidden folders are skipped."""
    for path, names, files in os.walk(folder):
        enrolled = "network.env" in files
        if enrolled:
            yield Path(path)
        names[:] = sorted(
            name
            for name in names
            if not name.startswith(".") and not (enrolled and name in _PARTS_OF_A_NODE)
        )


def _only(nodes: Path) -> Path:
    """Return the node in a folder, or else the only node below it."""
    from nodes.errors import NodeError

    if _is_node(nodes):
        return nodes
    folders = list(_below(nodes))
    if len(folders) == 1:
        return folders[0]
    if not folders:
        raise NodeError("no-node", f"There is no node in or below {nodes}. Name one with --node.")
    raise NodeError(
        "many-nodes",
        f"There are {len(folders)} nodes below {nodes}. Name one with --node: {_listed(folders)}.",
    )


def _by_scope(text: str, nodes: Path, *, or_device: bool) -> Path:
    """Return the folder of a scope's own node, or if it is not there, of a device of the scope."""
    from nodes.errors import NodeError
    from protocol import Scope

    if not text.startswith("/"):
        raise NodeError("no-node", f"There is no node in {text}, and a scope begins with a slash.")
    scope = Scope.parse(text)
    homes = [home for home in _homes(nodes) if home.scope == scope]
    own = [home.folder for home in homes if not home.is_device]
    folders = own or [home.folder for home in homes if or_device]
    if not folders:
        raise NodeError(
            "no-node",
            f"There is no node of {scope} below {nodes}. "
            "Name its folder with --node, or another folder of nodes with --nodes.",
        )
    if len(folders) > 1:
        raise NodeError(
            "many-nodes",
            f"Below {nodes} are {len(folders)} nodes of {scope}. "
            f"Name the folder of one with --node: {_listed(folders)}.",
        )
    return folders[0]


def _homes(nodes: Path) -> Iterator[Home]:
    """Open every node below a folder; one that is damaged is named on stderr and passed over."""
    from nodes.errors import NodeError
    from protocol import ProtocolError

    for folder in _below(nodes):
        try:
            yield open_home_in(folder)
        except (NodeError, ProtocolError) as error:
            say(error.code, f"The node in {folder} is passed over: {error.sentence}", "yellow")
        except (OSError, ValueError) as error:
            say("broken-home", f"The node in {folder} is passed over: {error}.", "yellow")


def _listed(folders: list[Path]) -> str:
    shown = 8
    rest = f" and {len(folders) - shown} more" if len(folders) > shown else ""
    return ", ".join(map(str, folders[:shown])) + rest


def decide_about(
    child: str, node: str | None, nodes: Path, act: Callable[[Node, NodeId], None]
) -> tuple[str, NodeId]:
    """Do something about an active child at its parent; return the parent's scope and the child.

    Raises what finding them raises, and what ``act`` does.
    """
    from protocol import NodeId

    folder = find(node, nodes)
    child_id = NodeId(find_child(folder, child, active=True))
    with opened(folder) as parent:
        act(parent, child_id)
        return str(parent.home.scope), child_id
