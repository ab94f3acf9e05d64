"""Who is shut out keeps no seat in the open round, also if let in again before the parent hears.

A person may shut a child out in two ways: revoke and enrol again, or suspend and resume.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nodes.config.policy import RoundPolicy
from nodes.parent.parent import Parent
from nodes.parent.tasks import Request
from nodes.state.node import Node
from nodes.trust.enrolment import resume, revoke, suspend
from protocol import NodeId
from tests.nodes.network import by_child, enrol_again
from tests.nodes.toy import Member, Tree, tree


@dataclass(frozen=True)
class Way:
    """How a child is shut out, and let in again."""

    out: Callable[[Node, NodeId], None]
    back: Callable[[Node, NodeId], None]

    def shut_out(self, made: Tree, root: Member, child: Member, let_in: bool = False) -> None:
        """As a command does it: in a process of its own, of which the parent hears later."""
        node, gone = made.reopen(root).node, name_of(child)
        self.out(node, gone)
        if let_in:
            self.back(node, gone)


@pytest.fixture(params=[Way(revoke, enrol_again), Way(suspend, resume)], ids=["revoked", "paused"])
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture
def trio(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member, Member]]:
    """A root and two devices, each with a target of its own."""
    with tree(tmp_path, base) as made:
        root = made.root()
        rng = np.random.default_rng(4)
        one, two = (
            made.child(root, name, "/", rng.standard_normal(root.node.size).astype(np.float32))
            for name in ("one", "two")
        )
        root.toy.target = ((one.toy.target + two.toy.target) / 2).astype(np.float32)
        yield made, root, one, two


def name_of(member: Member) -> NodeId:
    return member.node.home.id


def parent_of(member: Member) -> Parent:
    assert member.parent is not None
    return member.parent


def opened(root: Member) -> dict[NodeId, Request]:
    """Open a round, or go on with it; returns the tasks of now."""
    return by_child(parent_of(root).step())


def answer(root: Member, child: Member, task: Request) -> list[Request]:
    kind, blobs = child.child().answer(task.blobs)
    return parent_of(root).receive(task.child, task.task, kind, blobs)


def seats(root: Member) -> set[NodeId]:
    """Whose updates wait in the open round."""
    waiting = root.node.state.rounds.open
    return set(waiting.seated) if waiting else set()


def released(root: Member) -> list[NodeId]:
    """Whose updates the last release counted."""
    *_, last = root.node.ledger.events(["released"])
    return list(last.body["accepted"])


def outcomes(root: Member) -> list[str]:
    return [event.body["outcome"] for event in root.node.ledger.events(["round-closed"])]


@pytest.mark.parametrize("restarts", [False, True])
def test_an_update_of_who_is_shut_out_loses_its_seat(
    trio: tuple[Tree, Member, Member, Member], way: Way, restarts: bool
) -> None:
    made, root, one, two = trio
    asked = opened(root)
    answer(root, one, asked[name_of(one)])
    way.shut_out(made, root, one)
    if restarts:
        made.restart(root)
        asked = opened(root)
    answer(root, two, asked[name_of(two)])
    assert released(root) == [name_of(two)]
    trained = two.node.state.offers.trained
    assert trained is not None
    np.testing.assert_allclose(root.node.effective(), two.node.vector(trained.delta), atol=1e-5)


def test_a_round_does_not_end_with_a_seat_that_was_lost_unheard(
    trio: tuple[Tree, Member, Member, Member],
    way: Way,
) -> None:
    made, root, one, two = trio
    asked = opened(root)
    answer(root, one, asked[name_of(one)])
    way.shut_out(made, root, one)
    (two.node.home.folder / "train.jsonl").write_text("")  # it has nothing to send
    answer(root, two, asked[name_of(two)])
    assert outcomes(root) == ["void"]


def test_who_was_enrolled_again_keeps_no_old_seat_and_is_asked_anew(
    trio: tuple[Tree, Member, Member, Member],
    way: Way,
) -> None:
    made, root, one, two = trio
    asked = opened(root)
    answer(root, one, asked[name_of(one)])
    way.shut_out(made, root, one, let_in=True)
    again = opened(root)
    assert name_of(one) in again
    assert seats(root) == set()
    assert again[name_of(one)].task != asked[name_of(one)].task
    answer(root, one, again[name_of(one)])
    assert seats(root) == {name_of(one)}
    answer(root, two, asked[name_of(two)])
    assert set(released(root)) == {name_of(one), name_of(two)}


def test_a_round_waits_for_the_new_answer_of_who_was_enrolled_again(
    trio: tuple[Tree, Member, Member, Member],
    way: Way,
) -> None:
    made, root, one, two = trio
    asked = opened(root)
    answer(root, one, asked[name_of(one)])
    way.shut_out(made, root, one, let_in=True)
    answer(root, two, asked[name_of(two)])
    assert released(root) == []
    root.close_round()
    assert released(root) == [name_of(two)]


def test_refusals_of_who_was_enrolled_again_are_counted_anew(
    trio: tuple[Tree, Member, Member, Member],
    way: Way,
) -> None:
    """Half of what a round bears, then a good answer; as much again would be all of it."""
    made, root, one, _ = trio
    for let_in in (False, True):
        if let_in:
            way.shut_out(made, root, one, let_in=True)
        asked = opened(root)
        assert name_of(one) in asked
        task = asked[name_of(one)]
        for _ in range(RoundPolicy.max_refusals // 2):
            parent_of(root).receive(name_of(one), task.task, "update", {"envelope": b"rubbish"})
            made.clock.advance(RoundPolicy.refused_ms)
            task = opened(root)[name_of(one)]
        answer(root, one, task)
        assert seats(root) == {name_of(one)}


def test_who_was_refused_too_often_is_asked_anew_once_enrolled_again(
    trio: tuple[Tree, Member, Member, Member],
    way: Way,
) -> None:
    made, root, one, _ = trio
    asked = opened(root)
    for _ in range(RoundPolicy.max_refusals):
        task = asked[name_of(one)].task
        parent_of(root).receive(name_of(one), task, "update", {"envelope": b"rubbish"})
        made.clock.advance(RoundPolicy.refused_ms)
        asked = opened(root) or asked
    assert name_of(one) not in opened(root)
    way.shut_out(made, root, one, let_in=True)
    assert name_of(one) in opened(root)


def test_a_late_update_of_who_was_shut_out_meanwhile_is_not_seated(
    trio: tuple[Tree, Member, Member, Member],
    way: Way,
) -> None:
    made, root, one, two = trio
    asked = opened(root)
    task = asked[name_of(one)]
    kind, blobs = one.child().answer(task.blobs)
    answer(root, two, asked[name_of(two)])
    root.close_round()
    parent_of(root).receive(task.child, task.task, kind, blobs)
    way.shut_out(made, root, one, let_in=True)
    made.clock.advance(2000)
    assert name_of(one) in opened(root)
    assert seats(root) == set()
    *_, refused = root.node.ledger.events(["update-refused"])
    assert (refused.body["child"], refused.body["code"]) == (name_of(one), "superseded")


def test_who_is_shut_out_while_its_update_is_admitted_gets_no_seat(
    trio: tuple[Tree, Member, Member, Member], way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, root, one, two = trio
    asked = opened(root)
    put = root.node.artefacts.put

    def meanwhile(data: bytes) -> str:
        monkeypatch.undo()
        way.shut_out(made, root, one)
        return put(data)

    kind, blobs = one.child().answer(asked[name_of(one)].blobs)
    monkeypatch.setattr(root.node.artefacts, "put", meanwhile)
    parent_of(root).receive(name_of(one), asked[name_of(one)].task, kind, blobs)
    assert seats(root) == set()
    answer(root, two, asked[name_of(two)])
    assert released(root) == [name_of(two)]
