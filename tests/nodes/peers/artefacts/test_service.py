"""What a circle's members are answered, and how much at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.machine.clock import ManualClock
from nodes.peers.artefacts.holders import Holders
from nodes.peers.artefacts.manifest import Manifest
from nodes.peers.artefacts.service import CHUNK, MOST_DIGESTS, ArtefactService, GiveLimits, Serving
from nodes.peers.artefacts.shelf import DescribedBase, Shelf
from nodes.peers.artefacts.traffic import ByteCounts, read_traffic
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.errors import PeerError
from protocol import Digest, NodeId, Role, digest_of, peer_pb2
from tests.nodes.network import make_root, peer
from tests.nodes.peers.artefacts.sources import name_of

LIMITS = GiveLimits(each=2, in_all=3, bytes=1 << 20, idle_s=30, retry_ms=500)
BIG = bytes(range(256)) * 2500  # three chunks, the last one short


class Giving:
    """The service of a root."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.peer = peer(make_root(folder / "root", base))
        self.clock = ManualClock()
        self.counts = ByteCounts(folder / "traffic.json", self.clock)
        self.shelf = Shelf(self.peer.node, DescribedBase.of(self.peer.node, base), own=True)
        self.holders = Holders()
        self.service = ArtefactService(
            self.shelf, self.holders, self.counts.gave, Serving(LIMITS, self.clock)
        )
        self.big = self.shelf.offer(BIG)

    def fetch(self, who: str, digest: Digest, offset: int, length: int) -> Iterator[peer_pb2.Chunk]:
        request = peer_pb2.FetchRequest(digest=bytes.fromhex(digest), offset=offset, length=length)
        return self.service.fetch(caller(who), request)

    def refused(self, who: str, digest: Digest, offset: int, length: int) -> PeerError:
        with pytest.raises(PeerError) as refused:
            list(self.fetch(who, digest, offset, length))
        return refused.value


def caller(word: str) -> Caller:
    return Caller(name_of(word), Role.DEVICE, word, "127.0.0.1")


@pytest.fixture(scope="module")
def giving(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Giving]:
    made = Giving(tmp_path_factory.mktemp("giving"), base)
    yield made
    made.peer.close()


@pytest.mark.parametrize(("offset", "length"), [(0, len(BIG)), (1, CHUNK), (len(BIG), 0), (7, 1)])
def test_a_part_comes_in_chunks_and_the_first_names_the_length(
    giving: Giving, offset: int, length: int
) -> None:
    before = giving.counts.given.get(name_of("a"), 0)
    chunks = list(giving.fetch("a", giving.big, offset, length))
    assert b"".join(chunk.data for chunk in chunks) == BIG[offset : offset + length]
    assert all(len(chunk.data) <= CHUNK for chunk in chunks)
    assert [chunk.total for chunk in chunks] == [len(BIG)] + [0] * (len(chunks) - 1)
    assert giving.counts.given.get(name_of("a"), 0) - before == length


def test_what_may_not_be_had_and_what_is_no_question_is_refused(giving: Giving) -> None:
    [certificate] = [digest_of(e) for e in giving.peer.home.path_envelopes]
    for digest in (digest_of(b"unknown"), certificate):
        assert giving.refused("a", digest, 0, 1).code == "not-here"
    for offset, length in ((0, len(BIG) + 1), (len(BIG) + 1, 0), (2**63, 1), (0, 2**21)):
        assert giving.refused("a", giving.big, offset, length).code == "malformed"
    assert giving.refused("a", Digest("ab"), 0, 1).code == "malformed"
    for count in (0, MOST_DIGESTS + 1):
        with pytest.raises(PeerError, match="malformed"):
            giving.service.locate(caller("a"), peer_pb2.LocateRequest(digests=[bytes(32)] * count))
        with pytest.raises(PeerError, match="malformed"):
            giving.service.announce(
                caller("a"), peer_pb2.AnnounceRequest(digests=[bytes(32)] * count)
            )


def test_where_things_are_and_who_else_has_them(giving: Giving) -> None:
    elsewhere = digest_of(b"elsewhere")
    announced = peer_pb2.AnnounceRequest(digests=[bytes.fromhex(elsewhere)])
    giving.service.announce(caller("holder"), announced)
    question = peer_pb2.LocateRequest(digests=map(bytes.fromhex, (elsewhere, giving.big)))
    reply = giving.service.locate(caller("a"), question)
    there, here = reply.located
    assert (there.here, there.length) == (False, 0)
    assert [NodeId(node.hex()) for node in there.holders] == [name_of("holder")]
    assert (here.here, here.length, list(here.holders)) == (True, len(BIG), [])
    sibling = ArtefactService(giving.shelf, None, giving.counts.gave, Serving(LIMITS, giving.clock))
    sibling.announce(caller("holder"), announced)
    assert not sibling.locate(caller("a"), question).located[0].holders


def test_fetches_are_bounded_for_each_and_for_all(giving: Giving) -> None:
    def begin(who: str) -> Iterator[peer_pb2.Chunk]:
        running = giving.fetch(who, giving.big, 0, len(BIG))
        next(running)
        return running

    first, second = begin("a"), begin("a")
    refused = giving.refused("a", giving.big, 0, 1)
    assert (refused.code, refused.retry_ms) == ("overloaded", 500)
    third = begin("b")
    assert giving.refused("c", giving.big, 0, 1).code == "overloaded"
    list(second)  # to its end
    fourth = begin("c")
    for running in (third, fourth):  # cut off
        running.close()  # type: ignore[attr-defined]
    second, third = begin("b"), begin("b")
    giving.clock.advance(20_000)
    next(second)
    giving.clock.advance(20_000)  # nobody took anything of the first and the third
    list(begin("c"))
    with pytest.raises(PeerError, match="too-slow"):
        next(first)
    assert next(second).data
    list(second)
    with pytest.raises(PeerError, match="too-slow"):
        next(third)
    assert not giving.service._serving._running


def test_the_base_is_given_file_by_file(giving: Giving, base: Path) -> None:
    listed = giving.shelf.find(giving.shelf.manifest)
    assert listed is not None
    for file in Manifest.decode(listed.read(0, listed.length), base).files:
        chunks = giving.fetch("a", file.sha256, 0, file.length)
        assert b"".join(c.data for c in chunks) == (base / file.name).read_bytes()


def test_bytes_are_counted_by_node_and_written_now_and_then(tmp_path: Path) -> None:
    clock, file = ManualClock(), tmp_path / "peer-traffic.json"
    counts = ByteCounts(file, clock)
    counts.gave(name_of("a"), 5)
    counts.took(name_of("b"), 7)
    assert json.loads(file.read_bytes()) == {"given": {name_of("a"): 5}, "taken": {}}
    clock.advance(1000)
    counts.gave(name_of("a"), 5)
    assert read_traffic(file) == {"given": {name_of("a"): 10}, "taken": {name_of("b"): 7}}
    counts.took(name_of("b"), 1)
    counts.flush()
    again = ByteCounts(file, clock)
    assert (again.given, again.taken) == ({name_of("a"): 10}, {name_of("b"): 8})
    for damaged in ("", "[]", '{"given": 3}', '{"given": {"x": 1}, "taken": []}'):
        file.write_text(damaged)
        assert read_traffic(file) == {"given": {}, "taken": {}}


def test_large_artefacts_are_given_in_turns(giving: Giving) -> None:
    limits = GiveLimits(large=len(BIG), turns=1, turn_s=2.0, retry_ms=500)
    serving = Serving(limits, giving.clock)
    service = ArtefactService(giving.shelf, giving.holders, giving.counts.gave, serving)
    small = giving.shelf.offer(b"small")

    def fetch(who: str, digest: Digest, length: int) -> Iterator[peer_pb2.Chunk]:
        request = peer_pb2.FetchRequest(digest=bytes.fromhex(digest), length=length)
        return service.fetch(caller(who), request)

    def is_refused(who: str) -> bool:
        try:
            list(fetch(who, giving.big, 1))
        except PeerError as error:
            assert (error.code, error.retry_ms) == ("overloaded", 500)
            return True
        return False

    running = fetch("a", giving.big, len(BIG))
    next(running)
    assert is_refused("b")
    assert not is_refused("a")
    assert list(fetch("b", small, 5))  # what is small goes between
    giving.clock.advance(1500)
    next(running)
    giving.clock.advance(1500)
    assert is_refused("b")  # it is still being given
    list(running)
    announced = peer_pb2.AnnounceRequest(digests=[bytes.fromhex(giving.big)])
    service.announce(caller("a"), announced)  # it has all of it
    assert not is_refused("b")
    assert is_refused("a")
    giving.clock.advance(2001)
    assert not is_refused("a")
