"""Where nothing is new, nothing is sent, and rounds slow down until somebody has something."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from nodes.config.policy import RoundPolicy
from nodes.parent.round_events import (
    AbstentionReceived,
    Ask,
    CloseRound,
    OpenRound,
    Outcome,
    RoundDone,
    Tick,
    UpdateReceived,
    Woken,
)
from nodes.parent.round_machine import RoundMachine
from nodes.releases.publish import Made, publish
from nodes.state.event_codec import events_of
from nodes.state.events import (
    Abstained,
    GateJudged,
    LedgerEvent,
    RoundClosed,
    Trained,
    UpdateAccepted,
)
from nodes.text.files import write_texts
from protocol import Digest, NodeId, ReleaseKind, Role
from tests.nodes.toy import Member, tree

Event = TypeVar("Event", bound=LedgerEvent)
A, B, C, D = (NodeId(letter * 64) for letter in "abcd")
POLICY = RoundPolicy(f=1, deadline_ms=60_000, pause_ms=1000, idle_pause_ms=8000)


def idle_round(machine: RoundMachine, now: int) -> int:
    """One round in which everybody has nothing new; returns when the next one begins."""
    actions = machine.handle(Tick(now))
    assert isinstance(actions[0], OpenRound)
    for child in machine.members:
        actions = machine.handle(
            AbstentionReceived(child, machine.next_round - 1, None, now, resting=True)
        )
    assert isinstance(actions[-1], CloseRound)
    machine.handle(RoundDone({}, now))
    assert machine.next_ms is not None
    return machine.next_ms


def test_the_pause_doubles_while_nobody_has_anything() -> None:
    machine, now, pauses = RoundMachine(POLICY, (A, B, C, D)), 0, []
    for _ in range(5):
        begins = idle_round(machine, now)
        pauses.append(begins - now)
        now = begins
    assert pauses == [2000, 4000, 8000, 8000, 8000]


def test_a_child_that_has_something_ends_the_pause() -> None:
    machine = RoundMachine(POLICY, (A, B, C, D))
    idle_round(machine, idle_round(machine, idle_round(machine, 0)))
    machine.handle(Woken(B, 7000))
    assert machine.next_ms == 8000
    assert isinstance(machine.handle(Tick(8000))[0], OpenRound)
    assert machine.idle_rounds == 0


def test_a_child_that_woke_up_is_asked_again_in_the_open_round() -> None:
    machine = RoundMachine(POLICY, (A, B, C, D))
    machine.handle(Tick(0))
    machine.handle(AbstentionReceived(B, 1, None, 1, resting=True))
    (ask,) = machine.handle(Woken(B, 2))
    assert isinstance(ask, Ask)
    assert (ask.child, ask.insists) == (B, False)


def test_those_with_nothing_new_are_insisted_on_only_if_others_are_too_few() -> None:
    machine = RoundMachine(POLICY, (A, B, C, D))
    machine.handle(Tick(0))
    for child in (B, C, D):
        machine.handle(AbstentionReceived(child, 1, None, 1, resting=True))
    asks = machine.handle(UpdateReceived(A, Digest("a1"), 1, 0, 2))
    assert [(a.child, a.insists) for a in asks if isinstance(a, Ask)] == [
        (B, True),
        (C, True),
        (D, True),
    ]
    machine.handle(UpdateReceived(B, Digest("b1"), 1, 0, 3))
    machine.handle(UpdateReceived(C, Digest("c1"), 1, 0, 4))
    (close,) = machine.handle(AbstentionReceived(D, 1, None, 5))
    assert isinstance(close, CloseRound)
    assert close.outcome is Outcome.AGGREGATE


def test_a_round_that_nobody_can_fill_ends_after_insisting_once() -> None:
    machine = RoundMachine(POLICY, (A, B, C, D))
    machine.handle(Tick(0))
    machine.handle(UpdateReceived(A, Digest("a1"), 1, 0, 1))
    for moment in (2, 3):  # before and after they were insisted on
        for child in (B, C, D):
            actions = machine.handle(AbstentionReceived(child, 1, None, moment, resting=True))
    (close,) = actions
    assert isinstance(close, CloseRound)
    assert close.outcome is Outcome.VOID


@pytest.mark.parametrize(("members", "tolerated"), [(1, 0), (3, 0), (4, 1), (7, 2), (10, 3)])
def test_f_is_what_the_number_of_children_allows(members: int, tolerated: int) -> None:
    assert RoundPolicy().tolerates(members) == tolerated
    assert RoundPolicy(f=0).tolerates(members) == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["plain", "personal"])
def test_a_device_trains_on_the_same_text_from_the_same_state_once(
    tmp_path: Path, base: Path, mode: str
) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        device = made.child(root, "device", "/", np.ones(root.node.size, np.float32), mode=mode)
        for _ in range(6):  # what the device wants, the root's probes refuse
            root.rounds()
        assert events(root, RoundClosed)[0].outcome == "refused-by-gate"
        assert len(events(device, Trained)) == 1
        assert len(events(root, UpdateAccepted)) == 1
        tests = len(events(root, GateJudged))
        assert [e.reason for e in events(root, Abstained)] == ["nothing-new"]

        write_texts(device.node.home.folder / "train.jsonl", ["A text that is new."])
        assert root.parent is not None
        root.parent.wake(device.node.home.id)
        root.rounds()
        assert len(events(device, Trained)) == 2
        assert len(events(root, GateJudged)) > tests

        moved = np.full(root.node.size, 1e-3, np.float32)
        publish(root.node, moved, Made(kind=ReleaseKind.BY_HAND))
        root.rounds()
        root.rounds()
        assert len(events(device, Trained)) == 3  # another state to start from


def events(member: Member, cls: type[Event]) -> list[Event]:
    return [e for e in events_of(member.node.ledger, cls) if isinstance(e, cls)]


@pytest.mark.slow
def test_a_node_with_children_offers_the_same_to_its_parent_once(
    tmp_path: Path, base: Path
) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()  # whose probes refuse what the scope below learns
        middle = made.child(root, "en", "/en", np.ones(root.node.size, np.float32), Role.INTERIOR)
        root.rounds()
        root.close_round()
        made.ready(middle)
        made.child(middle, "device", "/en", middle.toy.target)
        middle.rounds()
        for _ in range(4):
            root.rounds()
            root.close_round()
        assert len(events(root, UpdateAccepted)) == 1
        assert [e.reason for e in events(root, Abstained)][-1] == "nothing-new"
        middle.rounds()  # the scope learned more
        root.rounds()
        assert len(events(root, UpdateAccepted)) == 2
