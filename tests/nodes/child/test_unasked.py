"""A snapshot that a sibling brings is installed by the same rules as one that comes with a task."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.child import receipts
from nodes.child.child import Child
from nodes.child.follow import MISSING, NOTHING_NEWER, WAITS_FOR_RECEIPTS
from nodes.learning.interfaces import Engine
from nodes.learning.trials import Judged
from nodes.peers.circle.snapshots import SignedChain, SnapshotService
from nodes.releases.publish import Made, publish
from nodes.state.event_codec import events_of
from nodes.state.events import ChainInstalled, OfferCounted, Trained
from nodes.state.node import Node
from protocol import (
    LIMITS,
    Code,
    Digest,
    Envelope,
    Refused,
    ReleaseKind,
    Role,
    SigningKey,
    seal,
)
from tests.nodes.network import add_child
from tests.nodes.toy import Member, Quadratic, Tree, tree


def release(member: Member, size: float) -> None:
    moved = np.full(member.node.size, size, np.float32)
    publish(member.node, moved, Made(kind=ReleaseKind.BY_HAND))


def given_by(member: Member) -> SignedChain:
    """What a sibling gives of its parent's scope."""
    parent = member.node.home.parent
    assert parent is not None
    newest = SnapshotService(member.node).newest(parent.scope)
    assert newest is not None
    return newest


def signed_by(member: Member) -> SignedChain:
    """What a parent gives its children."""
    newest = SnapshotService(member.node).newest(member.node.home.scope)
    assert newest is not None
    return newest


def from_store(node: Node) -> Callable[[Digest], bytes | None]:
    """Adapters out of another node's store."""
    return lambda digest: node.artefacts.get(digest) if node.artefacts.has(digest) else None


def length(member: Member) -> int:
    return sum(1 for _ in member.node.ledger.events())


@pytest.fixture
def circle(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member, Member]]:
    """A root and two plain devices; the second has not heard of the last release."""
    with tree(tmp_path, base) as made:
        root = made.root()
        root.toy.target = root.node.effective() + 1
        first = made.child(root, "first", "/", root.toy.target)
        second = made.child(root, "second", "/", root.toy.target)
        root.rounds()
        release(root, 0.25)
        root.members = {"first": first}
        root.rounds()
        assert second.node.state.above.sequence < first.node.state.above.sequence
        yield made, root, first, second


def test_a_plain_device_installs_what_a_sibling_gives(
    circle: tuple[Tree, Member, Member, Member],
) -> None:
    _, _, first, second = circle
    chain = given_by(first)
    lacking = second.child().follow_snapshot(chain.snapshot, chain.releases)
    assert (lacking.code, len(lacking.missing)) == (MISSING, 1)
    followed = second.child().follow_snapshot(
        chain.snapshot, chain.releases, from_store(first.node)
    )
    assert (followed.code, followed.missing) == ("", ())
    assert second.node.state.above.snapshot == first.node.state.above.snapshot
    np.testing.assert_array_equal(second.node.effective(), first.node.effective())
    again = second.child().follow_snapshot(chain.snapshot, chain.releases)
    assert again.code == NOTHING_NEWER


def test_missing_releases_are_named(circle: tuple[Tree, Member, Member, Member]) -> None:
    _, _, first, second = circle
    chain = given_by(first)
    followed = second.child().follow_snapshot(chain.snapshot, (), from_store(first.node))
    assert followed.code == MISSING
    assert first.node.state.above.links[-1].release in followed.missing


def test_a_device_goes_on_with_its_parent_after_a_sibling_helped(
    circle: tuple[Tree, Member, Member, Member],
) -> None:
    _, root, first, second = circle
    chain = given_by(first)
    second.child().follow_snapshot(chain.snapshot, chain.releases, from_store(first.node))
    root.close_round()
    root.members = {"first": first, "second": second}
    versions = root.node.state.own.version
    root.rounds()
    root.rounds()
    assert root.node.state.own.version > versions
    assert root.node.state.rounds.counted[second.node.home.id] > versions
    second.child()  # nothing is under way at a plain device: there is nothing to count twice
    assert not second.node.state.offers.sent and not second.node.state.offers.counted


# -- what does not verify -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[tuple[Member, Member]]:
    """A root with a release that its device has not seen."""
    with tree(tmp_path_factory.mktemp("pair"), base) as made:
        root = made.root()
        device = made.child(root, "device", "/", root.node.effective() + 1)
        root.rounds()
        release(root, 0.75)
        yield root, device


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_on_the_way_is_refused_and_changes_nothing(
    pair: tuple[Member, Member], data: st.DataObject
) -> None:
    root, device = pair
    chain, before = signed_by(root), length(device)
    parts = [chain.snapshot, *chain.releases]
    which = data.draw(st.integers(0, len(parts) - 1))
    place = data.draw(st.integers(0, len(parts[which]) - 1))
    changed = bytearray(parts[which])
    match data.draw(st.sampled_from(["flip", "cut", "insert"])):
        case "flip":
            changed[place] ^= data.draw(st.integers(1, 255))
        case "cut":
            del changed[place:]
        case "insert":
            changed[place:place] = data.draw(st.binary(min_size=1, max_size=8))
    parts[which] = bytes(changed)
    with pytest.raises(Refused):
        device.child().follow_snapshot(parts[0], parts[1:], from_store(root.node))
    assert length(device) == before


def test_an_adapter_that_is_another_is_refused(pair: tuple[Member, Member]) -> None:
    root, device = pair
    chain, before = signed_by(root), length(device)
    with pytest.raises(Refused) as refused:
        device.child().follow_snapshot(chain.snapshot, chain.releases, lambda _: b"another")
    assert refused.value.code == Code.WRONG_DIGEST
    assert length(device) == before


def test_a_snapshot_or_a_release_by_another_key_is_refused(pair: tuple[Member, Member]) -> None:
    root, device = pair
    chain, stranger = signed_by(root), SigningKey.generate()

    def resigned(data: bytes) -> bytes:
        both = Envelope.decode(data).signed_also_by(stranger)
        return replace(both, signatures=both.signatures[1:]).encode()

    for snapshot, releases in (
        (resigned(chain.snapshot), chain.releases),
        (chain.snapshot, tuple(map(resigned, chain.releases))),
    ):
        with pytest.raises(Refused) as refused:
            device.child().follow_snapshot(snapshot, releases, from_store(root.node))
        assert refused.value.code == Code.BAD_SIGNATURE


def test_another_signature_beside_the_owners_changes_nothing(tmp_path: Path, base: Path) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        device = made.child(root, "device", "/", None)
        root.rounds()
        release(root, 0.5)
        chain, stranger = signed_by(root), SigningKey.generate()
        also = tuple(Envelope.decode(r).signed_also_by(stranger).encode() for r in chain.releases)
        followed = device.child().follow_snapshot(chain.snapshot, also, from_store(root.node))
        assert not followed.code
        assert not device.node.damaged()


def test_an_expired_snapshot_and_one_that_went_back_are_refused(
    circle: tuple[Tree, Member, Member, Member],
) -> None:
    made, root, first, second = circle
    old = given_by(second)
    with pytest.raises(Refused) as refused:
        first.child().follow_snapshot(old.snapshot, old.releases)
    assert refused.value.code == Code.VERSION_WENT_BACK
    chain = given_by(first)
    made.clock.advance((LIMITS.snapshot_lifetime_s + LIMITS.clock_skew_s + 1) * 1000)
    with pytest.raises(Refused) as refused:
        second.child().follow_snapshot(chain.snapshot, chain.releases, from_store(root.node))
    assert refused.value.code == Code.EXPIRED


def test_a_snapshot_of_another_scope_is_refused(tmp_path: Path, base: Path) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        middle = made.child(root, "en", "/en", None, Role.INTERIOR)
        root.rounds()
        root.close_round()
        made.ready(middle)
        device = made.child(middle, "device", "/en", None)
        middle.rounds()
        chain = signed_by(root)  # sound, and not for a child of /en
        with pytest.raises(Refused) as refused:
            device.child().follow_snapshot(chain.snapshot, chain.releases)
        assert refused.value.code == Code.BAD_SIGNATURE


# -- what a node with an adapter of its own has to read first --------------------------------------


@pytest.fixture
def promoted(tmp_path: Path, base: Path) -> Iterator[tuple[Member, Member, bytes]]:
    """A root that counted what a scope offered, and then released once more; the scope has heard of
    neither. Also the envelope of the release that counted it."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        middle = made.child(root, "en", "/en", target, Role.INTERIOR)
        middle.share = 1.0
        root.rounds()
        root.close_round()
        made.ready(middle)
        made.child(middle, "device", "/en", target)
        middle.rounds()
        root.rounds()
        assert middle.node.state.offers.sent
        counted = root.node.state.own.latest
        assert counted is not None and root.node.state.own.by_rounds
        release(root, 0.125)
        yield root, middle, root.node.artefacts.get(counted.envelope)


def test_a_node_with_offers_under_way_waits_for_the_verdicts_in_between(
    promoted: tuple[Member, Member, bytes],
) -> None:
    root, middle, between = promoted
    chain, before = signed_by(root), length(middle)
    theta = middle.node.effective()
    fetch = from_store(root.node)
    waits = middle.child().follow_snapshot(chain.snapshot, chain.releases, fetch)
    assert waits.code == WAITS_FOR_RECEIPTS
    assert waits.missing == (Envelope.decode(between).digest,)
    assert length(middle) == before
    np.testing.assert_array_equal(middle.node.effective(), theta)
    child = middle.child()
    assert not child.follow_snapshot(chain.snapshot, (*chain.releases, between), fetch).code
    assert len(list(events_of(middle.node.ledger, OfferCounted))) == 1
    # The whole change above but its own offer: the offer is in the chain now, once.
    np.testing.assert_allclose(middle.node.effective(), theta + 0.125, atol=1e-5)


def test_without_that_wait_it_would_hold_twice_what_was_counted(
    promoted: tuple[Member, Member, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, middle, _ = promoted
    chain, theta = signed_by(root), middle.node.effective()
    offered = theta - middle.node.ancestors_total()
    monkeypatch.setattr(receipts, "read", lambda *_: None)
    middle.child().follow_snapshot(chain.snapshot, chain.releases, from_store(root.node))
    twice = theta + 0.125 + offered
    np.testing.assert_allclose(middle.node.effective(), twice, atol=1e-5)


def test_what_the_wait_was_for_comes_with_the_parents_next_task(
    promoted: tuple[Member, Member, bytes],
) -> None:
    root, middle, _ = promoted
    chain, theta = signed_by(root), middle.node.effective()
    middle.child().follow_snapshot(chain.snapshot, chain.releases, from_store(root.node))
    root.close_round()
    root.rounds()
    assert middle.node.state.above.sequence == chain.sequence
    assert len(list(events_of(middle.node.ledger, OfferCounted))) == 1
    np.testing.assert_allclose(middle.node.effective(), theta + 0.125, atol=1e-5)


# -- two threads -----------------------------------------------------------------------------------


class Slow(Quadratic):
    """Training that a test lets end."""

    def __init__(self, target: Any) -> None:
        super().__init__(target)
        self.began, self.may_end = threading.Event(), threading.Event()

    def train(self, *args: Any) -> Any:
        self.began.set()
        assert self.may_end.wait(30)
        return super().train(*args)


@pytest.mark.parametrize("mode", ["plain", "personal"])
def test_a_chain_that_comes_while_a_device_trains_is_installed_at_once(
    mode: str, tmp_path: Path, base: Path
) -> None:
    with tree(tmp_path, base) as made:
        root = made.root(retry_s=1)
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        device = made.child(root, "device", "/", target, mode=mode)
        assert root.parent is not None
        made.clock.advance(2000)
        (asked,) = root.parent.step()
        engine: Engine = Slow(target)
        child = Child(device.node, device.config, engine, judge=lambda _: Judged(1.0))
        assert isinstance(engine, Slow)
        answers: list[tuple[str, dict[str, bytes]]] = []
        thread = threading.Thread(target=lambda: answers.append(child.answer(asked.blobs)))
        thread.start()
        assert engine.began.wait(30)
        release(root, 0.5)
        chain = signed_by(root)
        followed = child.follow_snapshot(chain.snapshot, chain.releases, from_store(root.node))
        assert not followed.code and not answers
        engine.may_end.set()
        thread.join(30)
        if mode == "plain":  # it started from what its update says it started from
            assert answers[0][0] == "update"
            return
        # What it holds was displaced: it is asked again, and does not train again.
        assert answers[0][0] == "abstention"
        root.parent.receive(device.node.home.id, asked.task, *answers[0])
        made.clock.advance(2000)
        (again,) = root.parent.step()
        kind, _ = child.answer(again.blobs)
        assert kind == "update"
        assert len(list(events_of(device.node.ledger, ChainInstalled))) == 2
        assert len(list(events_of(device.node.ledger, Trained))) == 1
        state = device.node.state
        (sent,) = state.offers.sent.values()
        assert sent.copy == state.own.adapter


def test_a_folder_of_another_network_gives_nothing(tmp_path: Path, base: Path) -> None:
    with tree(tmp_path / "one", base) as one, tree(tmp_path / "other", base) as other:
        root, stranger = one.root(), other.root()
        device = one.child(root, "device", "/", None)
        add_child(stranger.node.home.folder, tmp_path / "theirs", base)
        root.rounds()
        release(stranger, 0.5)
        theirs = signed_by(stranger)
        with pytest.raises(Refused):
            device.child().follow_snapshot(theirs.snapshot, theirs.releases)


def test_a_sealed_statement_of_another_kind_is_no_snapshot(pair: tuple[Member, Member]) -> None:
    root, device = pair
    network = seal(root.node.home.network, root.node.home.key)
    with pytest.raises(Refused) as refused:
        device.child().follow_snapshot(network.encode(), ())
    assert refused.value.code == Code.UNKNOWN_TYPE
