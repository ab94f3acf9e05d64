"""Options that say where a node listens and by which names children reach it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nodes.state.home import Home

EVERYWHERE = "0.0.0.0"  # noqa: S104  children come from other machines; the door is guarded
"""Where a node that may have children listens, unless it is told otherwise."""

HostOption = Annotated[
    str, typer.Option("--host", help="Where to listen for children; 127.0.0.1: this machine only.")
]
PortOption = Annotated[
    int | None,
    typer.Option("--port", min=1, max=65535, help="Where to listen; default: one that is free."),
]
NamesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reached-at",
        help="A name or address by which children reach this node, with :PORT if it is another; "
        "may be repeated. Default: this machine's own addresses.",
    ),
]


def check_listening(host: str, port: int | None, names: Sequence[str]) -> None:
    """Check these options before anything is made.

    Raises ``NodeError`` ``bad-address``, and ``cannot-listen`` for a host of another machine.
    """
    from nodes.config.addresses import free_port, parse_host, parse_reachable

    free_port(parse_host(host))
    for name in names:
        parse_reachable(name, port or 1)


def addresses_of(home: Home, config_file: Path) -> list[str]:
    """Return where children will reach a node; its own host and port if nobody else can."""
    from nodes.config.files import load_config
    from nodes.config.reach import present_addresses

    return list(present_addresses(home, load_config(config_file), local=True))
