"""Finding the node that a command is about: by its folder, or by its scope."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nodes.state.node import Node

WhereArgument = Annotated[
    str, typer.Argument(help="A scope, such as /en/healthcare, or the node's state folder.")
]
NodesOption = Annotated[Path, typer.Option("--nodes", help="Where to look for the scope's node.")]


def find(where: str, below: Path) -> Path:
    """The state folder of the node that owns a scope, or the folder itself.

    Raises ``NodeError`` ``no-node`` when there is none, ``many-nodes`` when there are several.
    """
    from nodes.errors import NodeError
    from nodes.machine.clock import SystemClock
    from nodes.state.home import open_home
    from protocol import Scope

    if (Path(where) / "network.env").is_file():
        return Path(where)
    scope, now = Scope.parse(where), SystemClock().now_ms()
    found = []
    for enrolled in sorted(below.glob("**/network.env")):
        home = open_home(enrolled.parent, now)
        if home.scope == scope and not home.is_device:
            found.append(enrolled.parent)
    if not found:
        raise NodeError(
            "no-node", f"No node of {scope} below {below}. Name its folder, or another --nodes."
        )
    if len(found) > 1:
        raise NodeError(
            "many-nodes",
            f"Several nodes own {scope}: {', '.join(map(str, found))}. Name the folder instead.",
        )
    return found[0]


def member(folder: Path, who: str) -> str:
    """The id of a node's child, from its name or the start of its id.

    Raises ``NodeError`` ``not-a-member`` or ``many-nodes``.
    """
    from nodes.dashboard.status import StatusReader
    from nodes.errors import NodeError

    members = StatusReader(folder).read().members
    found = [m for m, name in members.items() if name == who or m.startswith(who)]
    if len(found) != 1:
        raise NodeError(
            "not-a-member" if not found else "many-nodes",
            f"{len(found)} children of {folder} are called {who}; "
            f"there are {', '.join(sorted(members.values())) or 'none'}.",
        )
    return found[0]


class opened:  # noqa: N801  reads as the statement it is
    """A node that is closed at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Node:
        from nodes.machine.clock import SystemClock
        from nodes.state.home import open_home
        from nodes.state.node import Node

        clock = SystemClock()
        self._node = Node(open_home(self._folder, clock.now_ms()), clock)
        return self._node

    def __exit__(self, *_: object) -> None:
        self._node.close()
