"""Receipts and snapshots over a real listener: to a child from its parent, and from its sibling."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.child.receipt_book import ReceiptBook
from nodes.machine.randomness import SeededRandomness
from nodes.parent.receipt_desk import ReceiptDesk
from nodes.peers.circle.sibling_watch import SILENT_S, Sibling, SiblingWatch
from nodes.peers.circle.snapshots import SnapshotService
from nodes.peers.receipts import ReceiptService
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.client import PeerChannel
from nodes.peers.wire.errors import PeerError
from nodes.releases.publish import Made, publish
from protocol import Digest, Fate, ReleaseKind
from protocol.peer_pb2 import ReceiptRequest, WatchReply, WatchRequest
from tests.nodes.peers.wire.pki import Authority
from tests.nodes.peers.wire.test_wire import serving
from tests.nodes.toy import Member, Tree, tree

Handlers = Mapping[str, Callable[..., Any]]
NAME = "answering.peer"


@pytest.fixture
def circle(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member, Member]]:
    """A root, a device, and its sibling that heard of one release more."""
    with tree(tmp_path, base) as made:
        root = made.root()
        root.toy.target = np.ones(root.node.size, np.float32)
        lost = made.child(root, "lost", "/", root.toy.target)
        ward = made.child(root, "ward", "/", root.toy.target)
        root.rounds()
        moved = np.full(root.node.size, 0.75, np.float32)
        publish(root.node, moved, Made(kind=ReleaseKind.BY_HAND))
        root.close_round()
        root.members = {"ward": ward}
        root.rounds()
        yield made, root, lost, ward


def calls_as(member: Member, handlers: Handlers) -> Any:
    """A listener that takes whoever calls for this member."""
    home, authority = member.node.home, Authority()
    role, name = home.certificate.role, home.certificate.name

    def identify(_: Digest, address: str) -> Caller:
        return Caller(home.id, role, name, address)

    shown = authority.server(NAME)
    listener = serving(handlers, lambda: shown, identify=identify)
    return listener, lambda address: PeerChannel(
        lambda: [address], lambda: authority.member("asking.peer"), NAME
    )


def test_a_child_gets_its_receipt_and_no_others(
    circle: tuple[Tree, Member, Member, Member],
) -> None:
    made, root, lost, ward = circle
    service = ReceiptService(ReceiptDesk(root.node))
    listener, channel_to = calls_as(lost, {"Receipt": service.receipt})
    made.clock.advance(3_600_000)
    with listener as address:
        channel = channel_to(address)

        def ask(update: Digest) -> tuple[bytes, bytes]:
            reply = channel.ask("Receipt", ReceiptRequest(update=bytes.fromhex(update)))
            return reply.receipt, reply.release

        (update,) = ReceiptBook(lost.node, ask).step()
        assert lost.node.state.receipts.kept[update].fate is Fate.COUNTED
        with pytest.raises(PeerError) as refused:
            ask(next(iter(ward.node.state.receipts.awaited)))
        assert refused.value.code == "unknown-update"
        channel.close()


def test_a_sibling_gives_what_the_parent_released_last(
    circle: tuple[Tree, Member, Member, Member],
) -> None:
    made, root, lost, ward = circle
    service = SnapshotService(ward.node, wait_s=0.1)
    listener, channel_to = calls_as(lost, {"WatchSnapshot": service.watch_snapshot})
    with listener as address:
        channel = channel_to(address)

        def ask(request: WatchRequest) -> WatchReply:
            reply = channel.ask("WatchSnapshot", request)
            assert isinstance(reply, WatchReply)
            return reply

        watch = SiblingWatch(
            lost.node,
            lost.child(),
            siblings=lambda: [Sibling(ward.node.home.id, "ward", ask)],
            fetch=root.node.artefacts.get,
            clock=made.clock,
            randomness=SeededRandomness(1),
        )
        made.clock.advance(round(SILENT_S * 1000))
        followed = watch.step()
        assert followed is not None and not followed.code
        assert lost.node.state.above.snapshot == ward.node.state.above.snapshot
        assert not ask(WatchRequest(scope="/", have=followed.snapshot.sequence)).snapshot
        with pytest.raises(PeerError) as refused:
            ask(WatchRequest(scope="/en", have=0))
        assert refused.value.code == "wrong-scope"
        channel.close()
