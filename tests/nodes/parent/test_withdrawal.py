"""Taking one contributor out of what a scope has released."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.errors import NodeError
from nodes.parent.withdrawal import withdraw
from nodes.releases.rollback import promoted_since, roll_back
from protocol import Role
from tests.nodes.toy import Member, Tree, tree

NAMES = ("one", "two", "three")


@pytest.fixture
def federation(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, list[Member]]]:
    """A root with three devices, each with a target of its own, after two rounds."""
    with tree(tmp_path, base) as made:
        root = made.root()
        rng = np.random.default_rng(1)
        devices = []
        for name in NAMES:
            target = rng.standard_normal(root.node.size).astype(np.float32)
            devices.append(made.child(root, name, "/", target))
        root.toy.target = np.mean([d.toy.target for d in devices], axis=0)
        root.rounds()
        root.rounds()
        assert len(root.node.state.own.by_rounds) == 2
        yield made, root, devices


def test_a_withdrawn_child_leaves_what_the_others_add_up_to(
    federation: tuple[Tree, Member, list[Member]],
) -> None:
    _, root, devices = federation
    deltas = [
        [d.node.vector(e.body["delta"]) for e in d.node.ledger.events(["trained"])] for d in devices
    ]
    done = withdraw(root.node, devices[2].node.home.id)
    expected = sum(np.mean([deltas[0][i], deltas[1][i]], axis=0) for i in range(2))
    np.testing.assert_allclose(root.node.effective(), expected, atol=1e-5)
    assert done.recomputed == (2, 3)
    assert done.version == root.node.state.own.version == 4
    assert done.deleted == 2
    assert root.node.state.offers.contributors() == 2
    assert root.node.ledger.verify() > 0


def test_one_after_another_leave(federation: tuple[Tree, Member, list[Member]]) -> None:
    _, root, devices = federation
    for device in devices:
        withdraw(root.node, device.node.home.id)
    np.testing.assert_allclose(root.node.effective(), 0, atol=1e-5)


def test_what_was_withdrawn_does_not_come_back_by_a_rollback(
    federation: tuple[Tree, Member, list[Member]],
) -> None:
    _, root, devices = federation
    delta = [next(iter(d.node.ledger.events(["trained"]))).body["delta"] for d in devices]
    withdraw(root.node, devices[2].node.home.id)
    roll_back(root.node, 2)
    expected = np.mean(
        [d.node.vector(x) for d, x in zip(devices[:2], delta[:2], strict=True)], axis=0
    )
    np.testing.assert_allclose(root.node.effective(), expected, atol=1e-5)


def test_there_must_be_something_to_withdraw(
    federation: tuple[Tree, Member, list[Member]],
) -> None:
    _, root, devices = federation
    with pytest.raises(NodeError, match="no child"):
        withdraw(root.node, root.node.home.id)
    withdraw(root.node, devices[0].node.home.id)
    with pytest.raises(NodeError, match="that stands"):
        withdraw(root.node, devices[0].node.home.id)
    roll_back(root.node, 1)
    with pytest.raises(NodeError, match="that stands"):
        withdraw(root.node, devices[1].node.home.id)


def test_a_cascade_takes_a_promotion_out_above_and_it_is_on_offer_again(
    tmp_path: Path, base: Path
) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        middle = made.child(root, "en", "/en", None, Role.INTERIOR)
        target = np.ones(root.node.size, np.float32)
        root.toy.target = middle.toy.target = target
        root.rounds()
        root.close_round()
        made.ready(middle)
        made.child(middle, "device", "/en", target)
        middle.rounds()
        root.rounds()
        root.rounds()
        promoted = promoted_since(middle.node, 1)
        assert promoted == [2]
        held = middle.node.effective()
        withdraw(root.node, middle.node.home.id, promoted)
        np.testing.assert_allclose(root.node.effective(), 0, atol=1e-6)
        root.close_round()
        root.rounds()
        np.testing.assert_allclose(middle.node.effective(), held, atol=1e-5)
        state, node = middle.node.state, middle.node
        again = node.vector(state.own.adapter) - node.vector(state.offers.baseline)
        np.testing.assert_allclose(again, 0.5 * target, atol=1e-5)


def test_a_round_with_too_few_updates_left_is_void_so_that_no_outvoted_one_comes_in(
    tmp_path: Path, base: Path
) -> None:
    """Of three updates one is bad; of the two that are left no rule could tell which."""
    with tree(tmp_path, base) as made:
        root = made.root(f=1, pipeline=["median"])
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        good = [made.child(root, name, "/", target) for name in ("one", "two")]
        made.child(root, "bad", "/", -8 * target)
        made.child(root, "away", "/", target)
        root.members.pop("away")  # without it there are 2f + 1
        root.rounds()
        first, second = (device.node.home.id for device in good)
        assert root.node.state.rounds.counted.keys() == {first, second}
        withdraw(root.node, first)
        np.testing.assert_allclose(root.node.effective(), 0, atol=1e-5)
        *_, last = root.node.ledger.events(["released"])
        assert {v["node"]: v["code"] for v in last.body["verdicts"]} == {
            first: "withdrawn",
            second: "withdrawn",
        }
        assert not root.node.state.rounds.stand_ins


def test_an_erasure_keeps_what_the_node_itself_holds_by_the_same_bytes(
    tmp_path: Path, base: Path
) -> None:
    """Where one update alone made a release, it is the release's displacement, byte for byte."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        device = made.child(root, "alone", "/", target)
        root.toy.target = target
        root.rounds()
        withdraw(root.node, device.node.home.id)
        np.testing.assert_allclose(root.node.effective(), 0, atol=1e-5)
        assert root.node.vector(root.node.state.own.published[2].moved).any()
