"""What a node offered and its parent counts no longer, or never got."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.child.child import Child
from nodes.machine.clock import ManualClock
from nodes.parent.withdrawal import withdraw
from nodes.releases.rollback import promoted_since, roll_back
from nodes.state.event_codec import events_of
from nodes.state.events import UpdateAccepted
from nodes.state.offers import ANSWERED_ROUNDS
from protocol import Role
from tests.nodes.toy import Member, Tree, tree


@pytest.fixture
def scope(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root and a scope below it that has something to offer: one contributor's."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        middle = made.child(root, "en", "/en", target, Role.INTERIOR)
        root.rounds()  # nothing to offer yet, but it gets the chain
        root.close_round()
        made.ready(middle)
        made.child(middle, "device", "/en", target)
        middle.rounds()
        assert middle.node.state.offers.contributors() == 1
        yield made, root, middle


def promote(root: Member, middle: Member) -> list[int]:
    """The root counts what is on offer, and the scope hears of it; returns its versions."""
    root.rounds()
    root.rounds()
    assert middle.node.state.offers.contributors() == 0
    return promoted_since(middle.node, 1)


def take_back(root: Member, middle: Member, how: str, promoted: list[int]) -> None:
    if how == "withdrawn":
        withdraw(root.node, middle.node.home.id, promoted)
    else:
        roll_back(root.node, 1)
    np.testing.assert_allclose(root.node.effective(), 0, atol=1e-6)
    root.close_round()
    root.rounds()


@pytest.mark.parametrize("how", ["withdrawn", "rolled back"])
def test_what_is_counted_no_longer_is_offered_again_in_the_name_of_its_contributors(
    scope: tuple[Tree, Member, Member], how: str
) -> None:
    _, root, middle = scope
    promoted = promote(root, middle)
    before = root.node.effective()
    take_back(root, middle, how, promoted)
    np.testing.assert_allclose(root.node.effective(), before, atol=1e-5)


@pytest.mark.parametrize("how", ["withdrawn", "rolled back"])
def test_contributors_to_what_the_scope_itself_took_back_are_not_remembered(
    scope: tuple[Tree, Member, Member], how: str
) -> None:
    _, root, middle = scope
    promoted = promote(root, middle)
    roll_back(middle.node, 1)
    take_back(root, middle, how, promoted)
    assert middle.node.state.offers.contributors() == 0
    np.testing.assert_allclose(root.node.effective(), 0, atol=1e-6)


def test_copies_of_lost_updates_are_kept_while_they_may_count_and_no_longer(
    scope: tuple[Tree, Member, Member],
) -> None:
    made, root, middle = scope
    assert root.parent is not None
    for _ in range(ANSWERED_ROUNDS + 4):
        made.clock.advance(2000)
        (asked,) = root.parent.step()
        kind, _ = middle.child().answer(asked.blobs)
        assert kind == "update"  # and it is lost on its way
        root.close_round()
    last = asked.round
    kept = sorted(sent.round for sent in middle.node.state.offers.sent.values())
    assert kept == list(range(last - ANSWERED_ROUNDS - 1, last + 1))


@pytest.mark.parametrize("off_ms", [-3_600_000, 3_600_000])
def test_a_child_whose_clock_is_wrong_dates_by_its_parents(
    tmp_path: Path, base: Path, off_ms: int
) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        device = made.child(root, "device", "/", np.ones(root.node.size, np.float32))
        assert root.parent is not None
        root.advance(2000)
        (request,) = root.parent.step()
        device.node.clock = ManualClock(root.node.clock.now_ms() + off_ms)
        child = Child(device.node, device.config, device.toy, ahead_ms=lambda: off_ms)
        kind, blobs = child.answer(request.blobs)
        assert kind == "update"
        root.parent.receive(device.node.home.id, request.task, kind, blobs)
        assert len(list(events_of(root.node.ledger, UpdateAccepted))) == 1
