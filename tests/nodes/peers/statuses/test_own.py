"""Claims about a node's own status: what it says of each child, when it is signed, its size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nodes.machine.troubles import Trouble, Troubles
from nodes.peers.statuses.book import StatusBook
from nodes.peers.statuses.children import ChildrenFold
from nodes.peers.statuses.last import that_still_holds
from nodes.peers.statuses.own import LIFE_MS, OwnStatus
from nodes.peers.statuses.rows import CHILDREN_NOTE
from nodes.peers.statuses.stopped import status_from_folder
from nodes.peers.statuses.verify import MAX_STATUS_BYTES
from nodes.state.events import Abstained, LedgerEvent, RoundClosed, RoundOpened, UpdateRefused
from nodes.state.records import ZERO
from nodes.trust.enrolment import resume, revoke, suspend
from protocol import (
    Envelope,
    NodeId,
    Refused,
    Role,
    Status,
    open_envelope,
)
from protocol.peer_pb2 import Signed
from tests.nodes.peers.statuses.world import Signer, World, a_member, a_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path) as made:
        yield made


def opened(world: World, signed: Signed) -> Status:
    """What was signed, verified by the root's key."""
    return open_envelope(Envelope.decode(signed.statement), Status, world.root.home.key.public)


def refused(child: NodeId, code: str, *, claimed: bool = True) -> LedgerEvent:
    return UpdateRefused(
        child=child, code=code, sentence="No.", round=1, update=ZERO, claimed=claimed
    )


def states(status: Status) -> dict[str, tuple[str, str]]:
    return {child.name: (child.state, child.reason) for child in status.children}


class Watched(StatusBook):
    """A book that cannot be asked by whoever holds the node's lock.

    What comes in takes the node's lock under the book's; the other way round both wait for ever.
    """

    asked = 0

    @property
    def hidden(self) -> int:
        self.asked += 1
        with ThreadPoolExecutor(1) as other:
            is_free = other.submit(self._node.lock.acquire, blocking=False).result()
            if is_free:
                other.submit(self._node.lock.release).result()
        assert is_free
        return super().hidden


def test_it_asks_the_book_before_it_takes_the_nodes_lock(world: World) -> None:
    book = Watched(world.root, world.book.file)
    own = OwnStatus(world.root, book)
    own.current()
    own.answer(b"")
    assert book.asked == 2


def test_it_says_how_each_child_is_and_why(world: World) -> None:
    root = world.root
    for name in ("silent", "odd", "paused", "gone", "worse"):
        a_member(root, name, Role.DEVICE)
    ids = {member.name: member.node for member in root.state.membership.members}
    own = OwnStatus(root, world.book)
    root.record(RoundOpened(round=1, deadline_ms=1, members=7, quorum=1, tolerates=0))
    world.clock.advance(1000)
    root.record(Abstained(child=ids["silent"], round=1, reason="no-text"))
    root.record(refused(ids["odd"], "norm-too-large", claimed=False))
    root.record_all([refused(ids["worse"], "wrong-shape"), refused(ids["worse"], "not-finite")])
    since = world.now
    world.clock.advance(5000)
    suspend(root, ids["paused"])
    revoke(root, ids["gone"])
    status = opened(world, own.current())
    assert states(status) == {
        "en": ("active", ""),
        "fr": ("active", ""),
        "silent": ("abstaining", "no-text"),
        "odd": ("refused", "norm-too-large"),
        "paused": ("suspended", "suspended"),
        "gone": ("revoked", "revoked"),
        "worse": ("quarantined", "not-finite"),
    }
    moments = {child.name: child.since_ms for child in status.children}
    assert moments["silent"] == moments["worse"] == since
    assert moments["gone"] == since + 5000
    assert {t.code: t.count for t in status.members} == {
        "active": 2, "abstaining": 1, "refused": 1, "suspended": 1, "revoked": 1, "quarantined": 1,
    }  # fmt: skip
    assert {t.code: t.count for t in status.refused} == {
        "norm-too-large": 1, "wrong-shape": 1, "not-finite": 1,
    }  # fmt: skip
    assert (status.round, status.round_open, status.events) == (1, True, root.head.seq)
    root.record(RoundClosed(round=1, outcome="no-quorum"))
    resume(root, ids["paused"])
    status = opened(world, own.current())
    assert (status.round_open, status.outcome) == (False, "no-quorum")
    assert states(status)["paused"] == ("active", "")


def test_a_child_whose_membership_ended_has_lapsed(world: World) -> None:
    world.clock.set_to(world.en.certificate.valid_until_ms + 3_600_000)
    status = opened(world, OwnStatus(world.root, world.book).current())
    assert states(status)["en"] == ("lapsed", "certificate-expired")


def test_it_says_when_a_child_was_heard_and_what_is_around(world: World, tmp_path: Path) -> None:
    troubles = Troubles(tmp_path / "troubles.json", world.clock)
    troubles.report("uplink", "link-down", "Nobody answers.")
    troubles.report("text", "link-down", "Nobody answers.")

    def standing() -> tuple[Trouble, ...]:
        return troubles.standing

    own = OwnStatus(world.root, world.book, way=lambda: "10.0.0.7:9941", troubles=standing)
    world.book.take(world.en.id, [world.en.signed(world.now, hidden=2)])
    status = opened(world, own.current())
    seen = {child.name: child.seen_ms for child in status.children}
    assert seen == {"en": world.now, "fr": 0}
    assert [(t.code, t.count) for t in status.troubles] == [("link-down", 2)]
    assert (status.way, status.hidden) == ("10.0.0.7:9941", 2)
    assert status.disk_free > 0
    assert status.disk_used > 1000
    assert status.membership_until_ms == world.root.home.certificate.valid_until_ms


def test_it_is_signed_anew_when_something_changed_or_half_a_minute_is_over(world: World) -> None:
    own = OwnStatus(world.root, world.book)
    first = own.current()
    world.clock.advance(5000)
    assert own.current() is first
    suspend(world.root, world.fr.id)
    second = own.current()
    assert second is not first
    world.clock.advance(LIFE_MS - 1)
    assert own.current() is second
    world.clock.advance(1)
    assert own.current() is not second


def test_it_is_never_older_than_the_one_before(world: World) -> None:
    own = OwnStatus(world.root, world.book)
    first = opened(world, own.current())
    world.clock.set_to(world.now - 60_000)
    restarted = OwnStatus(world.root, world.again())
    assert opened(world, restarted.current()).issued_ms == first.issued_ms + 1
    world.clock.set_to(world.now - 3_600_000)  # by more than peers tolerate: the clock was wrong
    assert opened(world, OwnStatus(world.root, world.again()).current()).issued_ms == world.now


def test_an_answer_holds_the_askers_nonce(world: World) -> None:
    own = OwnStatus(world.root, world.book)
    assert opened(world, own.answer(b"n" * 32)).nonce == b"n" * 32
    assert opened(world, own.current()).nonce == b""
    with pytest.raises(Refused):
        own.answer(b"n" * 33)


def test_what_is_known_of_children_survives_a_restart(world: World) -> None:
    world.root.record(refused(world.en.id, "wrong-shape", claimed=False))
    before = opened(world, OwnStatus(world.root, world.book).current())
    note = world.book.file.note(CHILDREN_NOTE)
    fold = ChildrenFold.from_json(note, world.root.ledger)
    assert fold.upto == world.root.head
    assert fold.children[world.en.id].refused == "wrong-shape"
    after = opened(world, OwnStatus(world.root, world.again()).current())
    assert after.children == before.children
    for damaged in ("", "{}", note.replace(world.root.head.digest, "0" * 64)):
        assert ChildrenFold.from_json(damaged, world.root.ledger).upto.seq == 0


def test_a_stopped_node_is_read_from_its_folder(world: World) -> None:
    world.root.record(refused(world.en.id, "wrong-shape", claimed=False))
    last = opened(world, OwnStatus(world.root, world.book, way=lambda: "gateway:1").current())
    world.root.record(Abstained(child=world.fr.id, round=1, reason="no-text"))
    read = status_from_folder(world.root.home, world.book.file, world.clock, last)
    assert states(read) == {"en": ("refused", "wrong-shape"), "fr": ("abstaining", "no-text")}
    assert (read.way, read.events, read.ledger) == ("gateway:1", *world.root.head)
    assert read.software == last.software != ""
    assert states(status_from_folder(world.root.home, None, world.clock)) == states(read)


def test_the_last_status_holds_until_something_happens_or_a_membership_ends(world: World) -> None:
    folder, file = world.root.home.folder, world.book.file
    last = opened(world, OwnStatus(world.root, world.book).current())

    def holds(now_ms: int) -> bool:
        return that_still_holds(folder, file, last, now_ms) is not None

    ends = min(world.en.certificate.valid_until_ms, world.fr.certificate.valid_until_ms)
    assert holds(world.now)
    assert holds(ends - 1)
    assert not holds(ends)
    assert not holds(world.now - 1)
    world.root.record(Abstained(child=world.fr.id, round=1, reason="no-text"))
    assert not holds(world.now)


@pytest.mark.slow
def test_it_stays_small_with_200_children(
    tmp_path: Path,
) -> None:
    with a_world(tmp_path) as world:
        for number in range(198):
            a_member(world.root, f"{number:03}" + "ü" * 61, Role.DEVICE)
        everyone = world.root.state.membership.members
        world.root.record(Abstained(child=everyone[9].node, round=1, reason="no-text"))
        own = OwnStatus(world.root, world.book)
        signed = own.current()
        assert len(opened(world, signed).children) == 200
        assert len(signed.statement) < MAX_STATUS_BYTES // 4


def test_what_is_left_out_is_the_least_interesting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = world.root
    members: list[Signer] = [a_member(root, f"device-{i}", Role.DEVICE) for i in range(6)]
    root.record(Abstained(child=members[0].id, round=1, reason="no-text"))
    world.book.take(members[1].id, [members[1].signed(world.now)])
    whole = opened(world, OwnStatus(root, world.book).current())
    room = len(whole.to_bytes()) - 4 * len(whole.children[-1].to_message().SerializeToString())
    monkeypatch.setattr("nodes.peers.statuses.own.MAX_STATUS_BYTES", room)
    status = opened(world, OwnStatus(root, world.again()).current())
    assert len(status.to_bytes()) <= room
    named = states(status)
    assert 2 <= len(named) < 8
    assert {"device-0", "device-1"} <= named.keys()  # one abstains, the other was heard
    assert {t.code: t.count for t in status.members} == {"active": 7, "abstaining": 1}
    assert json.loads(world.book.file.note(CHILDREN_NOTE))
