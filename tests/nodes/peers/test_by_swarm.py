"""The base reaches a circle's members by swarm, and over gRPC where that does not work."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from nodes.config.sections import NodeConfig
from nodes.machine.clock import SystemClock
from nodes.machine.troubles import Troubles
from nodes.peers.above import CircleAbove
from nodes.peers.artefacts.base import fetch_base, is_whole
from nodes.peers.artefacts.traffic import ByteCounts
from nodes.peers.parent_link import ParentLink
from nodes.peers.parts import PeerParts
from nodes.peers.swarm import session
from nodes.state.node import Node
from protocol import NodeId
from tests.nodes.peers.pair import Parent, link_to, running, running_parent
from tests.nodes.peers.test_parent_client import report, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not session.Swarm.available(), reason="needs the extra [swarm]"),
]


def member(stack: ExitStack, link: ParentLink) -> tuple[CircleAbove, ByteCounts]:
    """A device's part in the circle, as its daemon would make it."""
    home, config = link.client.home, NodeConfig.model_validate({"peers": {"host": "127.0.0.1"}})
    node = Node(home, SystemClock())
    stack.callback(node.close)
    parts = PeerParts.of(node, config, Troubles(home.folder / "troubles.json", node.clock))
    stack.callback(parts.close)
    above = CircleAbove(
        parts, link, on_refused=lambda _code, _detail: None, on_listening=lambda: None
    )
    stack.callback(link.close)
    stack.callback(above.close)
    return above, parts.counts


@pytest.mark.parametrize("works", [True, False], ids=["by swarm", "the swarm is gone"])
def test_a_large_file_comes_by_swarm_or_over_grpc(
    works: bool, tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "MIN_BYTES", 20_000)
    monkeypatch.setattr(session, "MIN_RECEIVERS", 2)
    monkeypatch.setattr("nodes.peers.below.SHARE_EVERY_S", 0.1)
    with ExitStack() as stack:
        parent: Parent = stack.enter_context(running_parent(tmp_path, base))
        links = [link_to(parent, tmp_path / name, base)[1] for name in ("clinic", "ward")]
        stack.enter_context(running(parent.circle.run))
        until(lambda: parent.circle.shared)
        assert parent.circle.keeper.current()[0].swarm_port
        members: list[CircleAbove] = []
        root: NodeId = parent.root.home.id
        for link in links:
            link.client.renew()
            link.book.take(report(link).circle)
            above, counts = member(stack, link)
            members.append(above)
            if not works:
                monkeypatch.setattr("nodes.peers.swarm.circle_swarm.STALLED_S", 0.5)
                parent.circle.stop_sharing()
            into = link.client.home.folder / "base"
            network = link.client.home.network
            fetch_base(above.fetcher, link.manifest(), into, network, stop=threading.Event())
            assert is_whole(into, network)
            large = sum(f.stat().st_size for f in into.rglob("*") if f.stat().st_size >= 20_000)
            assert large
            total = sum(f.stat().st_size for f in into.rglob("*") if f.is_file())
            over_grpc = counts.taken[root]
            assert (over_grpc < total - large // 2) is works
        if works:
            assert all(above.about().swarm_port for above in members), "they give it on"
