"""What a node judged of a new chain is what it installs, or it judges again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.child.child import Child
from nodes.child.follow import MOST_TRIALS
from nodes.child.rebase import Change
from nodes.learning.trials import Judged
from nodes.releases.publish import Made, publish
from nodes.state.event_codec import events_of
from nodes.state.events import ChainInstalled
from protocol import ReleaseKind, Role
from tests.nodes.toy import Member, Tree, Vector, tree


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root with a release that the scope below it has not seen."""
    with tree(tmp_path, base) as made:
        root = made.root()
        en = made.child(root, "en", "/en", None, Role.INTERIOR)
        root.rounds()
        root.close_round()
        release(root, 1.0)
        yield made, root, en


def release(member: Member, size: float) -> None:
    """Another thread's or another process's release."""
    moved = np.full(member.node.size, size, np.float32)
    publish(member.node, moved, Made(kind=ReleaseKind.BY_HAND))


def ask(root: Member, child: Child) -> None:
    """Let the scope answer the first task of the next round."""
    assert root.parent is not None
    waiting = root.parent.step()
    while not waiting:
        root.advance(2000)
        waiting = root.parent.step()
    child.answer(waiting[0].blobs)


def test_a_release_in_between_is_judged_again(pair: tuple[Tree, Member, Member]) -> None:
    _, root, en = pair
    judged: list[Vector] = []

    def judge(change: Change) -> Judged:
        judged.append(en.node.effective() + change.effect(0.5))
        if len(judged) == 1:
            release(en, 3.0)
        return Judged(0.5)

    ask(root, Child(en.node, en.config, en.toy, judge=judge))
    assert len(judged) == 2
    np.testing.assert_allclose(en.node.effective(), judged[-1], atol=1e-5)
    assert en.node.state.above.links[-1].version == root.node.state.own.version


def test_a_node_that_moves_all_the_time_abstains_and_keeps_its_chain(
    pair: tuple[Tree, Member, Member],
) -> None:
    _, root, en = pair
    before = en.node.state.above.links
    judged = 0

    def judge(_: Change) -> Judged:
        nonlocal judged
        judged += 1
        release(en, 0.1)
        return Judged(1.0)

    ask(root, Child(en.node, en.config, en.toy, judge=judge))
    assert judged == MOST_TRIALS
    assert en.node.state.above.links == before
    assert len(list(events_of(en.node.ledger, ChainInstalled))) == 1
