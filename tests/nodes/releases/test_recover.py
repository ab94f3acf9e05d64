"""A lost or damaged ledger: nothing is deleted, nothing runs, and what is proven comes back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from nodes.errors import NodeError
from nodes.releases.publish import start_root
from nodes.releases.recover import recover
from nodes.releases.rollback import roll_back
from nodes.state.artefacts import ArtefactStore
from nodes.state.home import open_home
from nodes.state.ledger_files import MARK_FILE
from nodes.state.node import Node
from nodes.trust.enrolment import suspend
from protocol import Role
from tests.nodes.toy import Member, Tree, tree

pytestmark = pytest.mark.slow  # each of these is made of several rounds

Network = tuple[Tree, Member, Member, Member]


@pytest.fixture
def network(tmp_path: Path, base: Path) -> Iterator[Network]:
    """A root, a tier and its device after some rounds; a release of the root was taken back."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        tier = made.child(root, "en", "/en", target, Role.INTERIOR)
        root.rounds()
        made.ready(tier)
        device = made.child(tier, "one", "/en", target)
        for _ in range(4):
            made.clock.advance(24 * 3600 * 1000)
            tier.rounds()
            root.rounds()
        roll_back(root.node, 2)
        root.rounds()
        yield made, root, tier, device


def lose(member: Member) -> None:
    """The ledger's files are gone."""
    member.node.close()
    for path in member.node.home.folder.glob("ledger.sqlite*"):
        path.unlink()


def reopened(made: Tree, member: Member) -> None:
    member.node = made.reopen(member).node
    if member.parent is not None:
        made.ready(member)


@pytest.mark.parametrize("marked", [True, False])
def test_a_lost_ledger_deletes_nothing_and_runs_nothing(marked: bool, network: Network) -> None:
    made, root, _, _ = network
    stored = set(cast(ArtefactStore, root.node.artefacts).digests())
    lose(root)
    if not marked:  # an older Banyan wrote none
        (root.node.home.folder / MARK_FILE).unlink()
    for _ in range(2):
        with pytest.raises(NodeError, match="banyan node recover") as lost:
            made.reopen(root)
        assert lost.value.code == "lost-ledger"
    assert set(ArtefactStore(root.node.home.folder / "artefacts").digests()) == stored


def test_an_older_ledger_is_a_lost_one(network: Network) -> None:
    made, root, _, _ = network
    folder = root.node.home.folder
    root.node.close()
    shutil.copy(folder / "ledger.sqlite", folder / "copy")
    reopened(made, root)
    root.rounds()
    roll_back(root.node, 2)
    root.node.close()
    (folder / "copy").replace(folder / "ledger.sqlite")
    with pytest.raises(NodeError, match="another or older") as lost:
        made.reopen(root)
    assert lost.value.code == "lost-ledger"


def test_a_root_comes_back_with_its_releases_and_goes_on(network: Network) -> None:
    made, root, tier, _ = network
    version, effective = root.node.state.own.version, root.node.effective()
    undone, sequence = root.node.state.own.undone, root.node.state.sequence
    taken_back = [v for v in range(1, version) if root.node.state.own.is_undone(v)]
    home, seen = root.node.home, tier.node.state.above.sequence
    lose(root)
    done = recover(home, made.clock, is_confirmed=lambda member: member.name == "en")
    assert (done.version, done.proven) == (version, version)
    assert (done.confirmed, done.unconfirmed) == (("en",), ())
    reopened(made, root)
    state = root.node.state
    np.testing.assert_array_equal(root.node.effective(), effective)
    assert (state.own.version, state.own.latest is not None) == (version, True)
    assert taken_back and undone
    assert all(state.own.is_undone(v) for v in taken_back)
    assert state.sequence > sequence and state.sequence > seen
    start_root(root.node)
    assert root.node.state.own.version == version
    for _ in range(3):
        made.clock.advance(24 * 3600 * 1000)
        tier.rounds()
        root.rounds()
    assert tier.node.state.above.sequence > seen
    assert root.node.state.own.version > version
    assert root.node.ledger.verify() > 0


def test_members_nobody_confirms_stay_shut_out(network: Network) -> None:
    made, root, tier, _ = network
    lose(root)
    done = recover(root.node.home, made.clock)
    assert (done.confirmed, done.unconfirmed) == ((), ("en",))
    reopened(made, root)
    assert root.node.state.membership.active == ()
    assert root.node.is_revoked(tier.node.home.id)


def test_a_confirmed_member_that_was_suspended_stays_so(network: Network) -> None:
    """The ledger is an older one, which says that, and lacks a release."""
    made, root, tier, _ = network
    folder = root.node.home.folder
    suspend(root.node, tier.node.home.id)
    root.node.close()
    shutil.copy(folder / "ledger.sqlite", folder / "copy")
    reopened(made, root)
    roll_back(root.node, 2)
    root.node.close()
    (folder / "copy").replace(folder / "ledger.sqlite")
    done = recover(root.node.home, made.clock, is_confirmed=lambda _: True)
    assert (done.confirmed, done.suspended) == ((), ("en",))
    reopened(made, root)
    assert root.node.is_suspended(tier.node.home.id)


def test_a_tier_comes_back_on_its_chain_with_nothing_on_offer(network: Network) -> None:
    made, root, tier, device = network
    before, effective = tier.node.state, tier.node.effective()
    lose(tier)
    done = recover(tier.node.home, made.clock, is_confirmed=lambda _: True)
    assert done.chain
    reopened(made, tier)
    state = tier.node.state
    assert state.above.links == before.above.links
    assert state.own.version == before.own.version
    np.testing.assert_array_equal(tier.node.effective(), effective)
    assert state.offers.baseline == state.own.adapter
    version = state.own.version
    tier.rounds()
    root.rounds()
    assert tier.node.state.own.version >= version
    assert device.node.state.above.links[-1].version >= version


def test_a_device_begins_with_the_chain_of_its_parent(network: Network) -> None:
    made, _, tier, device = network
    lose(device)
    recover(device.node.home, made.clock)
    reopened(made, device)
    assert device.node.state.above.snapshot is None
    tier.rounds()
    assert device.node.state.above.links[-1].version >= 1
    np.testing.assert_allclose(device.node.effective(), device.node.ancestors_total(), atol=1e-6)


def test_a_release_that_is_known_of_but_not_there_is_fetched_from_a_child(
    network: Network,
) -> None:
    made, root, tier, _ = network
    tier.rounds()
    root.rounds()
    newest = root.node.state.own.latest
    assert newest is not None
    home, version = root.node.home, root.node.state.own.version
    root.rounds()  # the tier follows
    assert tier.node.state.above.links[0].version == version
    root.node.artefacts.delete(newest.adapter)
    root.node.artefacts.delete(newest.envelope)
    lose(root)
    with pytest.raises(NodeError, match="--artefacts") as unproven:
        recover(home, made.clock)
    assert unproven.value.code == "unproven-release"
    assert not home.ledger_file.exists()
    done = recover(home, made.clock, [tier.node.home.folder / "artefacts"])
    assert done.version == version


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_damaged_ledger_points_at_recover_and_is_put_aside(damage: str, network: Network) -> None:
    made, root, _, _ = network
    home, version = root.node.home, root.node.state.own.version
    root.node.close()
    data = home.ledger_file.read_bytes()
    half = data[: len(data) // 2]
    home.ledger_file.write_bytes(half if damage == "truncated" else b"x" * len(data))
    (home.folder / "ledger.checkpoint").unlink(missing_ok=True)
    with pytest.raises(NodeError, match="banyan node recover"):
        made.reopen(root)
    done = recover(home, made.clock)
    assert done.version == version and done.ledger is not None
    assert Path(done.ledger).exists()
    node = Node(open_home(home.folder, made.clock.now_ms()), made.clock)
    assert node.state.own.version == version
    node.close()


def test_a_whole_ledger_is_not_rebuilt(network: Network) -> None:
    made, root, _, _ = network
    with pytest.raises(NodeError) as refused:
        recover(root.node.home, made.clock)
    assert refused.value.code == "nothing-to-recover"
