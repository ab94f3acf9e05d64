"""A parent and its children over real connections: locate, fetch, announce, and from a sibling."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nodes.machine.clock import SystemClock
from nodes.peers.artefacts.base import fetch_base, is_whole
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.artefacts.holders import Holders
from nodes.peers.artefacts.remote import RemoteSource
from nodes.peers.artefacts.service import ArtefactService, GiveLimits, Serving
from nodes.peers.artefacts.shelf import DescribedBase, Shelf
from nodes.peers.artefacts.standing import FaultBook, Standing
from nodes.peers.artefacts.traffic import ByteCounts
from nodes.peers.wire.caller import Caller, transport_of
from nodes.peers.wire.client import Credentials, PeerChannel
from nodes.peers.wire.errors import PeerError
from nodes.peers.wire.server import Listener, PeerServer
from nodes.state.event_codec import events_of
from nodes.state.events import PeerFaulted
from protocol import Digest, NodeId, Role, digest_of, peer_pb2
from tests.nodes.network import Peer, add_child, make_root, peer
from tests.nodes.peers.wire.pki import Authority

CLOCK = SystemClock()


@dataclass
class Member:
    """A node of the circle: what it gives, and how it asks."""

    peer: Peer
    base: Path
    credentials: Credentials
    holders: Holders | None
    address: str = ""
    sources: list[RemoteSource] = field(default_factory=list)

    def __post_init__(self) -> None:
        folder = self.peer.home.folder
        self.counts = ByteCounts(folder / "peer-traffic.json", CLOCK)
        self.standing = Standing(folder / "peer-standing.json", CLOCK)
        described = DescribedBase.of(self.peer.node, self.base)
        self.shelf = Shelf(self.peer.node, described, own=self.holders is not None)
        serving = Serving(GiveLimits(), CLOCK)
        self.service = ArtefactService(self.shelf, self.holders, self.counts.gave, serving)
        self.fetcher = Fetcher(
            lambda: self.sources,
            folder / "arriving",
            self.standing,
            CLOCK,
            FaultBook(self.peer.node, self.standing),
            on_bytes=self.counts.took,
        )

    @property
    def name(self) -> NodeId:
        return self.peer.id


@dataclass
class Circle:
    parent: Member
    children: list[Member]
    authority: Authority
    stack: ExitStack

    def everybody(self) -> list[Member]:
        return [self.parent, *self.children]

    def serve(self, member: Member) -> None:
        """Let a member listen, and every other one ask it."""
        known = {
            transport_of(m.credentials.certificate or b"")[0]: m.name for m in self.everybody()
        }

        def identify(transport: Digest, address: str) -> Caller:
            if transport not in known:
                raise PeerError("not-a-member", "Nobody here has this key.")
            return Caller(known[transport], Role.DEVICE, "", address)

        service = member.service
        tls = self.authority.server("member")
        server = PeerServer(
            [
                Listener(
                    "Peer",
                    {
                        "Locate": service.locate,
                        "Announce": service.announce,
                        "Fetch": service.fetch,
                    },
                    "127.0.0.1",
                    0,
                    lambda: tls,
                    identify,
                )
            ],
            now_ms=lambda: round(time.time() * 1000),
        )
        server.start()
        self.stack.callback(server.stop)
        address = f"127.0.0.1:{server.ports[0]}"
        for other in self.everybody():
            if other is not member:
                credentials = other.credentials
                channel = PeerChannel(lambda: [address], lambda c=credentials: c, "member")  # type: ignore[misc]
                self.stack.callback(channel.close)
                is_origin = member is self.parent
                other.sources.append(RemoteSource(member.name, channel, is_origin=is_origin))


@pytest.fixture
def circle(tmp_path: Path, base: Path) -> Iterator[Circle]:
    """A root that has the base, and two devices that have none."""
    authority, root = Authority(), make_root(tmp_path / "root", base)
    folders = [add_child(root, tmp_path / name, base) for name in ("one", "two")]
    with ExitStack() as stack:
        opened = [peer(folder) for folder in (root, *folders)]
        for each in opened:
            stack.callback(each.close)
        parent = Member(opened[0], base, authority.member("member"), Holders())
        children = [
            Member(each, each.home.folder / "base", authority.member("member"), None)
            for each in opened[1:]
        ]
        made = Circle(parent, children, authority, stack)
        made.serve(parent)
        yield made


@pytest.mark.slow
def test_a_base_reaches_children_from_the_parent_and_from_each_other(circle: Circle) -> None:
    parent, (one, two) = circle.parent, circle.children
    listed = parent.shelf.manifest
    fetch_base(one.fetcher, listed, one.base, one.peer.home.network, stop=threading.Event())
    assert is_whole(one.base, one.peer.home.network)
    assert one.counts.taken == {parent.name: parent.counts.given[one.name]}
    assert one.shelf.manifest == listed
    assert parent.holders is not None
    assert parent.holders.of(listed, two.name) == (one.name,)

    circle.serve(one)
    fetch_base(two.fetcher, listed, two.base, two.peer.home.network, stop=threading.Event())
    assert is_whole(two.base, two.peer.home.network)
    assert two.counts.taken[one.name] == one.counts.given[two.name] > 0
    assert sum(two.counts.taken.values()) == sum(one.counts.taken.values())
    assert not list(events_of(two.peer.node.ledger, PeerFaulted))

    # What is nobody's business is not given, and the refusal arrives as one.
    [source] = [source for source in two.sources if source.is_origin]
    secret = digest_of(parent.peer.home.path_envelopes[0])
    assert not source.locate([secret])[0].here
    with pytest.raises(PeerError) as refused:
        list(source.read(secret, 0, 10))
    assert refused.value.code == "not-here"


@pytest.mark.slow
def test_a_sibling_that_gives_wrong_bytes_stands_in_the_ledger(
    circle: Circle, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, (one, two) = circle.parent, circle.children
    data = bytes(range(256)) * 8192 * 2
    digest = parent.shelf.offer(data)
    one.shelf.offer(data)
    honest = one.service.fetch

    def lie(caller: Caller, request: peer_pb2.FetchRequest) -> Iterator[peer_pb2.Chunk]:
        for chunk in honest(caller, request):
            yield peer_pb2.Chunk(data=bytes(len(chunk.data)), total=chunk.total)

    monkeypatch.setattr(one.service, "fetch", lie)
    circle.serve(one)
    assert two.fetcher.get(digest, most=1 << 30) == data
    faults = list(events_of(two.peer.node.ledger, PeerFaulted))
    assert faults == [PeerFaulted(peer=one.name, code="wrong-bytes", artefact=digest)]
    assert not two.standing.may_ask(one.name)
    assert two.standing.may_ask(parent.name)
