"""The gate in a node: its probes wear out, its memory of the best does not drift."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from aggregation.gate import TOLERANCES, ProbeKind
from nodes.errors import NodeError
from nodes.parent import settlement
from nodes.releases import publish as releases
from nodes.releases.publish import Made, publish
from nodes.releases.rollback import roll_back
from protocol import ReleaseKind
from tests.nodes.toy import Member, Tree, tree


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root and a device that is probed by the same text."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        device = made.child(root, "device", "/", target, probed=True)
        yield made, root, device


def moved_by(root: Member, amount: float) -> None:
    """A release whose adapter moved by so much in every coordinate, past the gate."""
    displacement = np.full(root.node.size, amount, np.float32)
    publish(root.node, displacement, Made(kind=ReleaseKind.REBASE))


def test_every_gate_uses_up_its_probes_also_across_a_restart(
    pair: tuple[Tree, Member, Member],
) -> None:
    made, root, _ = pair
    root.rounds()
    root.rounds()
    uses = root.node.state.gate.uses["all"]
    assert set(uses.values()) == {2}
    assert made.reopen(root).node.state.gate.uses["all"] == uses


def test_every_candidate_is_charged(pair: tuple[Tree, Member, Member]) -> None:
    _, root, device = pair
    device.toy.target = -device.toy.target
    root.rounds()
    tries = list(root.node.ledger.events(["gate"]))
    assert [event.body["step"] for event in tries] == [1.0, 0.5, 0.25]
    assert root.node.state.gate.tests == 3
    assert {r["code"] for r in tries[0].body["reasons"]} == {"source-harmed", "no-gain-shown"}
    assert root.node.state.own.version == 1


def test_a_device_refuses_a_chain_that_harms_it_and_says_so(
    pair: tuple[Tree, Member, Member],
) -> None:
    _, root, device = pair
    root.rounds()
    root.rounds()
    held = device.node.effective()
    moved_by(root, -3.0)
    root.rounds()
    np.testing.assert_array_equal(device.node.effective(), held)
    *_, abstained = root.node.ledger.events(["abstained"])
    assert abstained.body["reason"] == "harmful-chain"
    moved_by(root, 3.0)
    root.close_round()
    root.rounds()
    assert device.node.state.above.links[-1].version > 3


def test_a_device_follows_a_rollback_though_it_was_better_before(
    pair: tuple[Tree, Member, Member],
) -> None:
    _, root, device = pair
    root.rounds()
    root.rounds()
    roll_back(root.node, 1)
    root.rounds()
    np.testing.assert_allclose(device.node.effective(), 0, atol=1e-6)
    assert device.node.state.best == {}


def test_small_harms_do_not_add_up(pair: tuple[Tree, Member, Member]) -> None:
    """Each step is within the tolerance of the one before; together they are not."""
    _, root, device = pair
    for _ in range(9):
        root.rounds()
    device.toy.rate = 0.0  # from here on it learns nothing more
    root.rounds()
    best = device.toy.loss(device.node.effective())
    losses = []
    for _ in range(16):
        moved_by(root, -1e-5)
        root.close_round()
        root.rounds()
        losses.append(device.toy.loss(device.node.effective()))
    assert device.toy.loss(root.node.effective()) > best + 0.1
    assert best + 0.005 < max(losses) <= best + TOLERANCES[ProbeKind.ORDINARY] + 1e-3


def test_what_changed_meanwhile_is_judged_again(
    pair: tuple[Tree, Member, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person rolls back while a candidate is judged."""
    _, root, _ = pair
    root.rounds()
    judged = 0
    real = releases.publish

    def late(node: object, displacement: object, made: Made, after: int | None = None) -> int:
        nonlocal judged
        judged += 1
        if judged == 1:
            roll_back(root.node, 1)
        return real(root.node, displacement, made, after)  # type: ignore[arg-type]

    monkeypatch.setattr(settlement, "publish", late)
    root.rounds()
    assert judged == 2
    kinds = [event.body["kind"] for event in root.node.ledger.events(["released"])]
    assert kinds == ["initial", "round", "rollback", "round"]


def test_a_candidate_that_never_comes_to_rest_is_given_up(
    pair: tuple[Tree, Member, Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, root, _ = pair

    def never(*_: object, **__: object) -> int:
        raise NodeError("moved-on", "again")

    monkeypatch.setattr(settlement, "publish", never)
    root.rounds()
    *_, closed = root.node.ledger.events(["round-closed"])
    assert (closed.body["outcome"], closed.body["code"]) == ("failed", "moved-on")
