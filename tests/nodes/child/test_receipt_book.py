"""A child asks what became of its updates, checks what its parent signs, and keeps it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.child.receipt_book import ASK_AGAIN_S, GIVE_UP_MS, ReceiptBook
from nodes.errors import NodeError
from nodes.parent.receipt_desk import ReceiptDesk
from nodes.parent.withdrawal import withdraw
from nodes.releases.rollback import roll_back
from nodes.state.retention import RetentionPolicy
from protocol import (
    Code,
    Digest,
    Envelope,
    Fate,
    NodeId,
    Receipt,
    Refused,
    SigningKey,
    digest_of,
    open_envelope,
    seal,
)
from tests.nodes.toy import Tree, tree


class Pair:
    """A root and a device that asks it for receipts."""

    def __init__(self, made: Tree, mode: str = "plain") -> None:
        self.made, self.root = made, made.root()
        self.root.toy.target = np.ones(self.root.node.size, np.float32)
        self.device = made.child(self.root, "device", "/", self.root.toy.target, mode=mode)
        self.asked: list[Digest] = []
        self.book = ReceiptBook(self.device.node, self.ask)

    def ask(self, update: Digest) -> tuple[bytes, bytes]:
        self.asked.append(update)
        receipt, release = ReceiptDesk(self.root.node).receipt(self.device.node.home.id, update)
        return receipt.encode(), release or b""

    @property
    def awaited(self) -> list[Digest]:
        return list(self.device.node.state.receipts.awaited)

    def fate(self, update: Digest) -> tuple[Fate, str]:
        kept = self.device.node.state.receipts.kept[update]
        return kept.fate, kept.code

    def later(self) -> None:
        """The deadline of every task has passed."""
        self.made.clock.advance(3_600_000)

    def said(self, update: Digest, /, **changes: Any) -> bytes:
        """The receipt for an update with something else in it, and signed all the same."""
        receipt, _ = ReceiptDesk(self.root.node).receipt(self.device.node.home.id, update)
        true = open_envelope(receipt, Receipt, self.root.node.home.key.public)
        return seal(replace(true, **changes), self.root.node.home.key).encode()

    def release(self, version: int) -> bytes:
        held = self.root.node.state.own.published[version].held
        return self.root.node.artefacts.get(held.envelope)


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[Pair]:
    with tree(tmp_path, base) as made:
        yield Pair(made)


@pytest.mark.parametrize("mode", ["plain", "personal"])
def test_a_device_keeps_the_receipt_and_the_release(mode: str, tmp_path: Path, base: Path) -> None:
    with tree(tmp_path, base) as made:
        pair = Pair(made, mode)
        pair.root.rounds()
        (update,) = pair.awaited
        assert pair.book.due() == []  # its deadline has not passed, and nothing new was installed
        pair.later()
        assert pair.book.step() == [update]
        kept = pair.device.node.state.receipts.kept[update]
        assert (kept.fate, kept.version, kept.contradicts) == (Fate.COUNTED, 2, False)
        assert Envelope.decode(pair.device.node.artefacts.get(kept.release)).digest
        assert pair.awaited == [] and pair.book.step() == []


def test_it_asks_as_soon_as_a_newer_release_is_installed(pair: Pair) -> None:
    pair.root.rounds()
    assert pair.book.step() == []
    first = pair.awaited[0]
    pair.root.close_round()
    before = pair.device.node.state.above.links[-1].version
    pair.root.rounds()  # its task brings the release that counted the first
    assert pair.device.node.state.above.links[-1].version > before
    assert first in pair.book.step()


def test_it_asks_again_for_what_waits_but_not_all_the_time(pair: Pair) -> None:
    for name in "abc":
        pair.made.child(pair.root, name, "/", pair.root.toy.target)
    pair.root.members = {"device": pair.device}
    pair.root.rounds()  # one of four answered
    pair.later()
    assert pair.book.step() == [] and len(pair.asked) == 1
    assert pair.book.step() == [] and len(pair.asked) == 1
    pair.made.clock.advance(round(ASK_AGAIN_S * 1000))
    pair.book.step()
    assert len(pair.asked) == 2
    pair.root.close_round()
    pair.later()
    (update,) = pair.book.step()
    assert pair.fate(update) == (Fate.LEFT_OUT, "void")


def test_an_update_that_never_arrived_is_given_up(pair: Pair) -> None:
    assert pair.root.parent is not None
    pair.root.advance(2000)
    (asked,) = pair.root.parent.step()
    pair.device.child().answer(asked.blobs)  # and it is lost on its way
    pair.later()
    assert pair.book.step() == [] and len(pair.asked) == 1
    pair.made.clock.advance(GIVE_UP_MS)
    assert pair.book.due() == []


def test_a_silent_parent_ends_the_step(pair: Pair) -> None:
    pair.root.rounds()
    pair.later()

    def silent(_: Digest) -> tuple[bytes, bytes]:
        raise NodeError("link-down", "Nobody answers.")

    with pytest.raises(NodeError):
        ReceiptBook(pair.device.node, silent).step()
    assert len(pair.awaited) == 1


@pytest.mark.parametrize("how", ["withdrawn", "undone"])
def test_what_counts_no_longer_is_asked_for_again(how: str, pair: Pair) -> None:
    pair.root.rounds()
    pair.later()
    (update,) = pair.book.step()
    if how == "withdrawn":
        withdraw(pair.root.node, pair.device.node.home.id)
    else:
        roll_back(pair.root.node, 1)
    pair.root.close_round()
    pair.root.rounds()
    assert update in pair.book.due()
    pair.book.step()
    assert pair.fate(update) == (Fate.WITHDRAWN, how)
    assert not pair.device.node.state.receipts.kept[update].contradicts


def test_what_a_receipt_needs_survives_retention_and_a_restart(pair: Pair) -> None:
    pair.root.rounds()
    pair.later()
    (update,) = pair.book.step()
    node = pair.device.node
    for digest in node.artefacts.digests():
        os.utime(node.home.folder / "artefacts" / digest[:2] / digest, (0, 0))
    node.tidy(RetentionPolicy(0, 1, 0))
    pair.made.restart(pair.device)
    kept = pair.device.node.state.receipts.kept[update]
    assert pair.device.node.artefacts.intact(kept.receipt)
    assert pair.device.node.artefacts.intact(kept.release)


# -- what is not believed --------------------------------------------------------------------------


CONTRADICTIONS: dict[str, dict[str, Any]] = {
    "says outvoted": {"fate": Fate.OUTVOTED, "code": "outvoted"},
    "says refused": {"fate": Fate.REFUSED, "code": "stale"},
    "says that it waits": {"fate": Fate.WAITING},
    "says withdrawn": {"fate": Fate.WITHDRAWN, "code": "withdrawn"},
    "another share": {"share": 0.25},
    "another version": {"version": 3},
    "counted by nothing": {"release": "", "version": 0},
}


@pytest.mark.parametrize("changes", CONTRADICTIONS.values(), ids=CONTRADICTIONS)
def test_a_receipt_that_its_release_contradicts_is_kept_as_evidence(
    changes: dict[str, Any], pair: Pair
) -> None:
    pair.root.rounds()
    (update,) = pair.awaited
    receipt, release = pair.said(update, **changes), pair.release(2)
    with pytest.raises(NodeError) as refused:
        pair.book.take(update, receipt, release)
    assert refused.value.code == "contradicting-receipt"
    kept = pair.device.node.state.receipts.kept[update]
    assert kept.contradicts and pair.device.node.artefacts.get(kept.receipt) == receipt
    pair.later()
    assert pair.book.step() == []  # it is settled: there is nothing to ask any more


def test_a_release_that_names_the_update_as_another_childs_is_a_contradiction(pair: Pair) -> None:
    other = pair.made.child(pair.root, "other", "/", pair.root.toy.target)
    pair.root.rounds()
    theirs = other.node.state.receipts.awaited
    receipt = pair.said(pair.awaited[0], update=next(iter(theirs)))
    with pytest.raises(NodeError, match="another child's"):
        pair.book.take(next(iter(theirs)), receipt, pair.release(2))


def test_a_release_that_names_it_later_is_no_contradiction(pair: Pair) -> None:
    assert pair.root.parent is not None
    pair.root.advance(2000)
    (asked,) = pair.root.parent.step()
    kind, blobs = pair.device.child().answer(asked.blobs)
    broken = blobs | {"payload": b"!"}
    pair.root.parent.receive(pair.device.node.home.id, asked.task, kind, broken)
    pair.later()
    (update,) = pair.book.step()
    assert pair.fate(update) == (Fate.REFUSED, "wrong-length")
    pair.root.rounds()
    pair.root.rounds()
    assert pair.book.take(update, *pair.ask(update))
    kept = pair.device.node.state.receipts.kept[update]
    assert kept.version and not kept.contradicts and kept.evidence is None


def test_an_earlier_receipt_is_not_taken_back(pair: Pair) -> None:
    pair.root.rounds()
    pair.later()
    (update,) = pair.book.step()
    before = pair.device.node.state.receipts.kept[update]
    changes = {"fate": Fate.REFUSED, "code": "stale", "release": "", "version": 0, "share": 0.0}
    turned = pair.said(update, **changes)
    with pytest.raises(NodeError) as refused:
        pair.book.take(update, turned, b"")
    assert refused.value.code == "contradicting-receipt"
    kept = pair.device.node.state.receipts.kept[update]
    assert (kept.fate, kept.receipt) == (Fate.COUNTED, before.receipt)
    assert kept.evidence is not None
    assert pair.device.node.artefacts.get(kept.evidence[0]) == turned


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"child": NodeId(digest_of(b"x"))}, Code.WRONG_NODE),
        ({"update": digest_of(b"x")}, Code.WRONG_DIGEST),
        ({"network": digest_of(b"x")}, Code.WRONG_NETWORK),
        ({"node": NodeId(digest_of(b"x"))}, Code.WRONG_PARENT),
        ({"release": digest_of(b"x")}, Code.WRONG_DIGEST),
    ],
)
def test_a_receipt_for_something_else_is_refused_and_not_kept(
    changes: dict[str, Any], code: Code, pair: Pair
) -> None:
    pair.root.rounds()
    (update,) = pair.awaited
    with pytest.raises(Refused) as refused:
        pair.book.take(update, pair.said(update, **changes), pair.release(2))
    assert refused.value.code == code
    assert pair.awaited == [update] and not pair.device.node.state.receipts.kept


def test_what_another_signed_is_refused(pair: Pair) -> None:
    pair.root.rounds()
    (update,) = pair.awaited
    receipt, release = pair.ask(update)
    true = open_envelope(Envelope.decode(receipt), Receipt, pair.root.node.home.key.public)
    for sealed, other in (
        (seal(true, SigningKey.generate()).encode(), release),
        (receipt, pair.release(1)),
        (receipt, b""),
    ):
        with pytest.raises(Refused):
            pair.book.take(update, sealed, other)
    assert pair.awaited == [update]


@pytest.fixture(scope="module")
def answered(
    tmp_path_factory: pytest.TempPathFactory, base: Path
) -> Iterator[tuple[Pair, Digest, tuple[bytes, bytes]]]:
    with tree(tmp_path_factory.mktemp("answered"), base) as made:
        pair = Pair(made)
        pair.root.rounds()
        (update,) = pair.awaited
        yield pair, update, pair.ask(update)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_changed_on_the_way_is_refused(
    answered: tuple[Pair, Digest, tuple[bytes, bytes]], data: st.DataObject
) -> None:
    pair, update, true = answered
    which = data.draw(st.integers(0, 1))
    parts = list(true)
    place = data.draw(st.integers(0, len(parts[which]) - 1))
    changed = bytearray(parts[which])
    changed[place] ^= data.draw(st.integers(1, 255))
    parts[which] = bytes(changed)
    with pytest.raises(Refused):
        pair.book.take(update, *parts)
    assert pair.awaited == [update]


def test_a_step_that_was_lied_to_goes_on_with_the_next(pair: Pair) -> None:
    pair.root.rounds()
    pair.root.close_round()
    pair.root.rounds()
    first, second = pair.awaited
    pair.later()
    ask: Callable[[Digest], tuple[bytes, bytes]] = pair.ask
    book = ReceiptBook(
        pair.device.node, lambda update: ask(update) if update == second else (b"lie", b"")
    )
    assert book.step() == [second]
    assert pair.awaited == [first]
