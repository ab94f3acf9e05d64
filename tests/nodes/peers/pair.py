"""A root and its devices with real keys, and the root's real peer service on loopback."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nodes.config.sections import UplinkSettings
from nodes.machine.clock import Clock, SystemClock
from nodes.machine.troubles import Troubles
from nodes.peers.below import CircleBelow
from nodes.peers.parent_link import ParentLink
from nodes.peers.parts import PeerParts
from nodes.state.home import open_home
from protocol import NodeId
from tests.nodes.network import Peer, add_child, make_root, peer


@dataclass
class Parent:
    """A root whose peer service runs."""

    root: Peer
    circle: CircleBelow
    ready: list[NodeId] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def circle_below(
    root: Peer,
    on_ready: Callable[[NodeId], None] = lambda _: None,
    on_refused: Callable[[str, str], None] = lambda _code, _detail: None,
) -> CircleBelow:
    """Make the circle of an open node, as its daemon would."""
    troubles = Troubles(root.home.folder / "troubles.json", root.node.clock)
    parts = PeerParts.of(root.node, root.config, troubles)
    return CircleBelow(parts, on_ready=on_ready, on_refused=on_refused)


@contextmanager
def running_parent(folder: Path, base: Path) -> Iterator[Parent]:
    """Make a root, and serve its circle."""
    with ExitStack() as stack:
        root = peer(make_root(folder / "root", base))
        stack.callback(root.close)
        ready, refused = list[NodeId](), list[str]()
        circle = circle_below(root, ready.append, lambda code, _: refused.append(code))
        circle.start()
        stack.callback(circle.stop)
        yield Parent(root, circle, ready, refused)


def link_to(
    parent: Parent, folder: Path, base: Path, clock: Clock | None = None
) -> tuple[Path, ParentLink]:
    """Enrol a device, and make its link; it has no link certificate yet."""
    add_child(parent.root.home.folder, folder, base)
    parent.root.node.catch_up()
    return folder, open_link(parent, folder, clock)


def open_link(
    parent: Parent, folder: Path, clock: Clock | None = None, doors: Sequence[str] = ()
) -> ParentLink:
    """Make the link of a device that was enrolled."""
    clock = clock or SystemClock()
    home = open_home(folder, None)
    doors = tuple(doors) or parent.circle.whereabouts().doors
    uplink = UplinkSettings(addresses=("127.0.0.1:1",), doors=doors)
    return ParentLink(home, uplink, clock, Troubles(folder / "troubles.json", clock))


@contextmanager
def running(*loops: object) -> Iterator[threading.Event]:
    """Run loops that take a stop event, each in a thread, until the block ends."""
    stop = threading.Event()
    threads = [threading.Thread(target=loop, args=(stop,)) for loop in loops]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
        assert not any(thread.is_alive() for thread in threads)
