"""Who is away is stood in for by its last accepted update, fading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.parent.withdrawal import withdraw
from nodes.releases.rollback import roll_back
from nodes.state.events import UpdateRefused
from nodes.state.records import ZERO
from nodes.state.rounds import OFFENCES
from nodes.trust.enrolment import resume, revoke, suspend
from protocol import VerdictKind
from tests.nodes.network import enrol_again
from tests.nodes.toy import Member, Tree, Vector, tree


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member, Member]]:
    """A root and two devices, of which the second goes away after the first round."""
    with tree(tmp_path, base) as made:
        root = made.root()
        rng = np.random.default_rng(2)
        here, away = (
            made.child(root, name, "/", rng.standard_normal(root.node.size).astype(np.float32))
            for name in ("here", "away")
        )
        root.toy.target = ((here.toy.target + away.toy.target) / 2).astype(np.float32)
        root.rounds()
        assert len(root.node.state.own.by_rounds) == 1
        root.members.pop("away")
        yield made, root, here, away


def delta(member: Member) -> Vector:
    trained = member.node.state.offers.trained
    assert trained is not None
    return member.node.vector(trained.delta)


def stood_in(root: Member) -> list[str]:
    """Who was stood in for in the last release."""
    *_, last = root.node.ledger.events(["released"])
    return [v["node"] for v in last.body["verdicts"] if v["verdict"] == VerdictKind.STAND_IN]


def test_half_of_the_last_update_then_a_quarter_stands_in(
    pair: tuple[Tree, Member, Member, Member],
) -> None:
    _, root, here, away = pair
    for factor in (0.5, 0.25):
        before = root.node.effective()
        root.rounds()
        root.close_round()
        *_, last = root.node.ledger.events(["released"])
        expected = before + last.body["step"] * (delta(here) + factor * delta(away)) / 2
        np.testing.assert_allclose(root.node.effective(), expected, atol=1e-5)
        assert stood_in(root) == [away.node.home.id]


def test_who_returns_is_stood_in_for_from_the_start_again(
    pair: tuple[Tree, Member, Member, Member],
) -> None:
    _, root, _, away = pair
    root.rounds()
    root.close_round()
    root.members["away"] = away
    root.rounds()
    assert stood_in(root) == []
    assert root.node.state.rounds.stand_ins[away.node.home.id].stood == 0


@pytest.mark.parametrize(
    "reason", ["quarantined", "revoked", "suspended", "let in again", "withdrawn", "undone"]
)
def test_nobody_stands_in_for_who_lost_the_seat(
    pair: tuple[Tree, Member, Member, Member], reason: str
) -> None:
    _, root, _, away = pair
    node, gone = root.node, away.node.home.id
    if reason == "quarantined":
        for _ in range(OFFENCES):
            node.record(
                UpdateRefused(
                    child=gone,
                    code="not-finite",
                    sentence="",
                    round=1,
                    update=ZERO,
                    claimed=True,
                )
            )
    elif reason == "revoked":
        revoke(node, gone)
    elif reason == "suspended":
        suspend(node, gone)
        resume(node, gone)
    elif reason == "let in again":
        revoke(node, gone)
        enrol_again(node, gone)
    elif reason == "withdrawn":
        withdraw(node, gone)
    else:
        roll_back(node, 1)
    root.rounds()
    root.close_round()
    assert stood_in(root) == []


def test_a_stand_in_survives_a_restart(pair: tuple[Tree, Member, Member, Member]) -> None:
    made, root, _, away = pair
    again = made.reopen(root)
    assert again.node.state.rounds.stand_ins == root.node.state.rounds.stand_ins
    assert set(again.node.state.rounds.stand_ins) >= {away.node.home.id}
