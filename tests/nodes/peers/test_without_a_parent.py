"""A device whose parent is gone learns of the chain's newest releases from a sibling."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.config.peer_ports import peer_ports
from nodes.config.sections import NodeConfig
from nodes.dashboard.status import StatusReader
from nodes.machine.clock import SystemClock
from nodes.peers.circle.book import CircleBook
from nodes.releases.publish import publish_by_hand
from nodes.state.home import open_home
from nodes.state.ledger import Ledger
from nodes.state.node import Node
from nodes.state.node_state import NodeState
from protocol import Role, encode_adapter
from tests.nodes.daemons import Nodes, wait_for
from tests.nodes.network import ROUNDS, add_child, make_root
from tests.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    started = Nodes()
    try:
        yield started
    finally:
        started.end()


def doors_of(folder: Path) -> list[str]:
    """Where a node that has not run yet will answer whoever joins or renews."""
    home = open_home(folder, SystemClock().now_ms())
    return [f"127.0.0.1:{peer_ports(home, NodeConfig()).door}"]


def versions(folder: Path) -> dict[str, int]:
    """The versions of the chain that a node has installed."""
    if not (folder / "ledger.sqlite").exists():
        return {}
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        links = NodeState.from_ledger(ledger).above.links
    return {link.scope: link.version for link in links}


def publish(folder: Path, value: float) -> None:
    """Let a person release something at a running node."""
    clock = SystemClock()
    node = Node(open_home(folder, clock.now_ms()), clock)
    try:
        publish_by_hand(node, encode_adapter(np.full(node.size, value, np.float32)))
    finally:
        node.close()


def knows_a_sibling(folder: Path) -> bool:
    """Whether a device has its parent's list of the circle, and can dial another in it."""
    clock = SystemClock()
    return bool(CircleBook(open_home(folder, clock.now_ms()), clock.now_ms).siblings())


def test_a_newer_release_of_an_ancestor_comes_from_a_sibling(
    nodes: Nodes, base: Path, tmp_path: Path
) -> None:
    rounds = ROUNDS | {"deadline_s": 20, "resend_s": 5, "retry_s": 1}
    ports = free_port(), free_port()
    root = make_root(tmp_path / "root", base, rounds, ports[0])
    tier = add_child(
        root,
        tmp_path / "en",
        base,
        scope="/en",
        role=Role.INTERIOR,
        address=f"127.0.0.1:{ports[0]}",
        rounds=rounds,
        doors=doors_of(root),
        port=ports[1],
    )
    awake, away = (
        add_child(
            tier, tmp_path / name, base, scope="/en", address=f"127.0.0.1:{ports[1]}",
            doors=doors_of(tier),
        )
        for name in ("awake", "away")
    )  # fmt: skip
    for folder in (root, tier, awake, away):
        nodes.start(folder)
    wait_for(lambda: knows_a_sibling(awake) and knows_a_sibling(away))
    wait_for(lambda: versions(awake).keys() == versions(away).keys() == {"/", "/en"})
    nodes.kill(away)
    known = versions(away)["/"]
    publish(root, 0.001)
    newest = StatusReader(root).read().version
    assert newest > known
    wait_for(lambda: versions(awake).get("/", 0) >= newest)
    nodes.stop(tier)
    nodes.stop(root)
    assert versions(away)["/"] == known
    nodes.start(away)
    wait_for(lambda: versions(away)["/"] >= newest, limit_s=120)
    assert versions(away) == versions(awake)
