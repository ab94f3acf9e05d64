"""How a node's adapter moves with the chain above it, and back when that is undone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nodes.errors import NodeError
from nodes.releases.rollback import roll_back
from protocol import Envelope, Release, Role, Span, open_envelope
from tests.nodes.toy import Member, Tree, distance, tree

Vector = NDArray[np.float32]
SCOPES = ("/en", "/es")


@pytest.fixture
def network(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, list[Member]]]:
    """A root, two scopes below it, a device below each with a target of its own."""
    with tree(tmp_path, base) as made:
        root = made.root()
        rng = np.random.default_rng(0)
        targets = rng.standard_normal((2, root.node.size)).astype(np.float32)
        root.toy.target = targets.mean(axis=0)
        middles = []
        for scope, target in zip(SCOPES, targets, strict=True):
            middle = made.child(root, scope[1:], scope, target, Role.INTERIOR)
            middles.append(middle)
        root.rounds()  # nothing to offer yet, but they get the chain
        root.close_round()
        for middle, scope, target in zip(middles, SCOPES, targets, strict=True):
            made.ready(middle)
            made.child(middle, f"device-{scope[1:]}", scope, target)
        yield made, root, middles


def exchange(root: Member, middles: list[Member]) -> None:
    """Every tier has a round; then each scope hears of the root's release."""
    for middle in middles:
        middle.rounds()
    root.rounds()
    root.rounds()
    root.close_round()


def test_a_neutral_rebase_keeps_the_effective_model(
    network: tuple[Tree, Member, list[Member]],
) -> None:
    _, root, middles = network
    for middle in middles:
        middle.rounds()
    before = [middle.node.effective() for middle in middles]
    root.rounds()
    root.rounds()
    assert root.node.state.own.by_rounds
    for middle, kept in zip(middles, before, strict=True):
        assert middle.node.state.own.published[middle.node.state.own.version].kind == "rebase"
        np.testing.assert_allclose(middle.node.effective(), kept, atol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_the_effective_model_follows_by_its_share(
    network: tuple[Tree, Member, list[Member]], share: float
) -> None:
    """By ρ·(Δ − δ): what the others brought."""
    _, root, middles = network
    for middle in middles:
        middle.rounds()
        middle.share = share
    before = [middle.node.effective() for middle in middles]
    offers = [m.node.effective() - root.node.effective() for m in middles]
    above = root.node.effective()
    root.rounds()
    change = root.node.effective() - above
    root.rounds()
    for middle, kept, offer in zip(middles, before, offers, strict=True):
        expected = kept + share * (change - offer)
        np.testing.assert_allclose(middle.node.effective(), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_parent_converges_to_the_mean_and_counts_nothing_twice(
    network: tuple[Tree, Member, list[Member]], share: float
) -> None:
    _, root, middles = network
    for middle in middles:
        middle.share = share
    start = distance(root, root.toy.target)
    errors = []
    for _ in range(9):
        exchange(root, middles)
        errors.append(distance(root, root.toy.target) / start)
    assert errors[-1] < 0.01, errors
    assert all(later <= earlier + 1e-5 for earlier, later in pairwise(errors))


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_rollback_above_takes_back_what_the_undone_release_did(
    network: tuple[Tree, Member, list[Member]], share: float
) -> None:
    _, root, middles = network
    for middle in middles:
        middle.share = share
        middle.rounds()
    before = [m.node.effective() for m in middles]
    version, adapter = root.node.state.own.version, root.node.vector(root.node.state.own.adapter)
    offered = [m.node.vector(m.node.state.own.adapter) for m in middles]
    root.rounds()
    root.rounds()  # installed below
    assert root.node.state.own.version > version
    roll_back(root.node, version)
    np.testing.assert_allclose(root.node.vector(root.node.state.own.adapter), adapter, atol=1e-6)
    root.close_round()
    root.rounds()
    for middle, kept, offer in zip(middles, before, offered, strict=True):
        np.testing.assert_allclose(middle.node.effective(), kept, atol=1e-4)
        # What the undone release had counted is on offer again.
        again = middle.node.vector(middle.node.state.own.adapter) - middle.node.vector(
            middle.node.state.offers.baseline
        )
        np.testing.assert_allclose(again, offer, atol=1e-4)


@pytest.mark.slow
def test_after_a_rollback_the_parent_still_converges_to_the_mean(
    network: tuple[Tree, Member, list[Member]],
) -> None:
    _, root, middles = network
    start = distance(root, root.toy.target)
    for middle in middles:
        middle.share = 0.5
    exchange(root, middles)
    exchange(root, middles)
    roll_back(root.node, 2)
    for _ in range(9):
        exchange(root, middles)
    assert distance(root, root.toy.target) < 0.01 * start


def test_what_was_missed_of_a_rollback_is_learned_from_any_later_release(
    network: tuple[Tree, Member, list[Member]],
) -> None:
    """A scope that is away while the root goes back and releases again."""
    _, root, middles = network
    away, present = middles
    for middle in middles:
        middle.share = 1.0
        middle.rounds()
    before = away.node.effective()
    version = root.node.state.own.version
    root.rounds()
    root.rounds()
    root.close_round()
    roll_back(root.node, version)
    absent = root.members.pop("en")
    for _ in range(2):
        present.rounds()
        root.rounds()
        root.close_round()
    root.members["en"] = absent
    root.rounds()
    np.testing.assert_allclose(away.node.effective(), before, atol=1e-4)


def test_a_rollback_keeps_what_the_scope_followed_from_above(
    network: tuple[Tree, Member, list[Member]],
) -> None:
    """A re-base among the undone versions is not undone, and not named."""
    _, root, middles = network
    for member in middles:
        member.share = 1.0
    exchange(root, middles)
    node = middles[0].node
    assert [p.kind for p in node.state.own.published.values()] == ["initial", "round", "rebase"]
    with pytest.raises(NodeError, match="only followed"):
        roll_back(node, 2)
    roll_back(node, 1)
    followed = node.vector(node.state.own.published[3].moved)
    assert followed.any()
    np.testing.assert_allclose(node.vector(node.state.own.adapter), followed, atol=1e-5)
    assert node.state.own.latest is not None
    envelope = Envelope.decode(node.artefacts.get(node.state.own.latest.envelope))
    release = open_envelope(envelope, Release, node.home.key.public)
    assert release.undone == (Span(after=1, until=2),)


def test_a_rollback_to_what_is_not_there_is_refused(
    network: tuple[Tree, Member, list[Member]],
) -> None:
    _, root, middles = network
    exchange(root, middles)
    last = root.node.state.own.version
    for version in (0, last, last + 1):
        with pytest.raises(NodeError, match="versions 1 to"):
            roll_back(root.node, version)
    roll_back(root.node, 1)
    with pytest.raises(NodeError, match="itself taken back"):
        roll_back(root.node, last)
    assert root.node.ledger.verify() > 0
