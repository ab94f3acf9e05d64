"""What a node keeps of its past, what it lets go, and what commands say of what is gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from nodes.config.sections import RetentionSettings
from nodes.errors import NodeError
from nodes.parent.withdrawal import withdraw
from nodes.releases.rollback import roll_back
from nodes.state import retention
from nodes.state.artefacts import ArtefactStore
from nodes.state.event_codec import write
from nodes.state.events import (
    Aggregated,
    ChainInstalled,
    LedgerEvent,
    OfferCounted,
    Released,
    Trained,
    UpdateSent,
)
from nodes.state.interfaces import Artefacts, Events
from nodes.state.ledger import Ledger
from nodes.state.node import Node
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, HeldRelease, Seated, TrainingMeasured, Undone
from nodes.state.retention import RetentionPolicy
from protocol import Digest, NodeId, ReleaseKind, Role, digest_of
from tests.nodes.toy import Member, Tree, tree

pytestmark = pytest.mark.slow  # each of these is made of many rounds

DAY_MS = 24 * 3600 * 1000
EVERYTHING = RetentionPolicy(10_000 * DAY_MS, 10_000, 10**12)
LITTLE = RetentionPolicy(DAY_MS, 3, 10**12)


def store_of(node: Node) -> ArtefactStore:
    return cast(ArtefactStore, node.artefacts)


def tidied(node: Node, policy: RetentionPolicy) -> int:
    """Tidy a store in which everything is old."""
    store = store_of(node)
    for digest in store.digests():
        os.utime(node.home.folder / "artefacts" / digest[:2] / digest, (0, 0))
    return node.tidy(policy)


@pytest.fixture
def network(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member, Member]]:
    """A root, a tier and its personal device, after eight rounds of each parent, one a day."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        tier = made.child(root, "en", "/en", target, Role.INTERIOR)
        root.rounds()
        made.ready(tier)
        device = made.child(tier, "one", "/en", target, mode="personal")
        for _ in range(8):
            made.clock.advance(DAY_MS)
            tier.rounds()
            root.rounds()
        assert len(tier.node.state.own.by_rounds) >= 6
        assert len(root.node.state.own.by_rounds) >= 6
        yield made, root, tier, device


def test_the_past_goes_by_policy_and_the_node_goes_on(
    network: tuple[Tree, Member, Member, Member],
) -> None:
    made, root, tier, device = network
    for member in (root, tier, device):
        node = member.node
        before, effective = store_of(node).total_bytes(), node.effective()
        position = node.position()
        lost = node.artefacts.put(b"of a lost update")
        tidied(node, EVERYTHING)
        assert not node.artefacts.has(lost)
        fresh = node.artefacts.put(b"about to be named")
        assert node.tidy(LITTLE) > 0
        assert node.artefacts.has(fresh)
        assert tidied(node, LITTLE) == len(b"about to be named")
        assert store_of(node).total_bytes() < before
        assert tidied(node, LITTLE) == 0
        assert node.damaged() == []
        np.testing.assert_array_equal(node.effective(), effective)
        np.testing.assert_array_equal(node.position().baseline, position.baseline)
        made.restart(member)
    for _ in range(2):
        made.clock.advance(DAY_MS)
        for parent in (tier, root):
            version = parent.node.state.own.version
            parent.rounds()
            assert parent.node.state.own.version >= version


def test_a_rollback_goes_back_as_far_as_versions_are_kept(
    network: tuple[Tree, Member, Member, Member],
) -> None:
    _, root, _, _ = network
    tidied(root.node, LITTLE)
    version = root.node.state.own.version
    with pytest.raises(NodeError, match=rf"the oldest .* is {version - 2}\.") as gone:
        roll_back(root.node, 2)
    assert gone.value.code == "no-artefact"
    assert roll_back(root.node, version - 2) == version + 1


def test_a_withdrawal_takes_out_what_can_be_computed_again(
    network: tuple[Tree, Member, Member, Member],
) -> None:
    _, root, tier, _ = network
    rounds = tuple(root.node.state.own.by_rounds)
    tidied(root.node, RetentionPolicy(3 * DAY_MS, 3, 10**12))
    done = withdraw(root.node, tier.node.home.id)
    assert done.recomputed and done.beyond
    assert tuple(sorted((*done.beyond, *done.recomputed))) == rounds


def test_a_withdrawal_of_what_is_kept_no_longer_says_so(
    network: tuple[Tree, Member, Member, Member],
) -> None:
    made, root, tier, _ = network
    made.clock.advance(10 * DAY_MS)
    tidied(root.node, LITTLE)
    before = root.node.state.own.version
    with pytest.raises(NodeError, match="kept no longer") as gone:
        withdraw(root.node, tier.node.home.id)
    assert gone.value.code == "no-artefact"
    assert root.node.state.own.version == before


def test_an_ancestors_rollback_further_back_than_is_kept_is_followed(
    network: tuple[Tree, Member, Member, Member],
) -> None:
    _, root, tier, _ = network
    tidied(tier.node, RetentionPolicy(DAY_MS, 1, 10**12))
    version = roll_back(root.node, 1)
    root.rounds()
    assert tier.node.state.above.links[-1].version >= version


def test_bytes_beyond_the_maximum_go_oldest_first_and_what_is_needed_stays(
    network: tuple[Tree, Member, Member, Member],
) -> None:
    node = network[1].node
    tidied(node, EVERYTHING)
    whole = store_of(node).total_bytes()
    tidied(node, RetentionPolicy(10_000 * DAY_MS, 10_000, whole * 3 // 4))
    assert store_of(node).total_bytes() <= whole * 3 // 4
    assert node.artefacts.has(node.state.own.published[node.state.own.version - 1].held.adapter)
    assert not node.artefacts.has(node.state.own.published[2].held.adapter)
    tidied(node, RetentionPolicy(10_000 * DAY_MS, 10_000, 0))
    assert node.damaged() == []


def test_a_damaged_artefact_is_named_and_healed(
    network: tuple[Tree, Member, Member, Member],
) -> None:
    node = network[3].node
    link = node.state.above.links[0]
    data = node.artefacts.get(link.adapter)
    path = node.home.folder / "artefacts" / link.adapter[:2] / link.adapter
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert node.damaged() == [link.adapter]
    node.artefacts.heal(link.adapter, data)
    assert node.damaged() == []


# A year of one release a day -----------------------------------------------------------------

ADAPTER, PAYLOAD, SMALL = 1_475_000, 410_000, 4_000
CHILDREN = 8


@dataclass
class Sizes:
    """A store that knows how long its artefacts are, and has no bytes."""

    of: dict[Digest, int] = field(default_factory=dict)

    def name(self, size: int) -> Digest:
        digest = digest_of(f"{len(self.of)}".encode())
        self.of[digest] = size
        return digest

    def digests(self) -> Iterator[Digest]:
        yield from self.of

    def size(self, digest: Digest) -> int:
        return self.of[digest]


def a_year(store: Sizes, *, is_device: bool) -> Iterator[tuple[int, list[LedgerEvent]]]:
    """A personal device or a domain's node: each day every scope above makes a release, and each
    re-base below it is one as well."""
    version, above = 0, dict.fromkeys(("/", "/en"), 0)
    for day in range(365):
        for source, moved in (("/", ("/", "/en")), ("/en", ("/en",))):
            before = dict(above)
            above.update({scope: above[scope] + 1 for scope in moved})
            chain = tuple(
                HeldRelease(s, v, store.name(0), store.name(SMALL), store.name(ADAPTER))
                for s, v in above.items()
            )
            yield day, [
                ChainInstalled(
                    snapshot=store.name(0), envelope=store.name(SMALL), sequence=1 + day,
                    chain=chain, brought={s: (before[s], above[s]) for s in above},
                    undone=Undone(installs=(), offers=()), share=0.25,
                    effect=store.name(ADAPTER), adapter=store.name(ADAPTER),
                    baseline=store.name(ADAPTER), copies={},
                )
            ]  # fmt: skip
            if not is_device:
                version += 1
                yield day, [_release(store, version, ReleaseKind.REBASE, day)]
            assert source in above
        if is_device:
            yield day, [_trained(store, day)]
        else:
            version += 1
            yield day, _round(store, version, day)
        update = store.name(0)
        sent = UpdateSent(
            round=day, update=update, length=1, copy=store.name(ADAPTER), version=version
        )
        counted = OfferCounted(update=update, version=above["/en"], delta=store.name(ADAPTER))
        yield day, [sent, counted]


def _release(store: Sizes, version: int, kind: ReleaseKind, day: int) -> Released:
    held = HeldRelease("/en/a", version, store.name(0), store.name(SMALL), store.name(ADAPTER))
    return Released(
        held=held, kind=kind, moved=store.name(ADAPTER), round=day, step=1.0, accepted=(),
        verdicts=(), losses=(), rehearsal=store.name(ADAPTER), undone=(),
    )  # fmt: skip


def _round(store: Sizes, version: int, day: int) -> list[LedgerEvent]:
    seats = {
        NodeId(digest_of(b"%d" % i)): Seated(
            store.name(0), store.name(PAYLOAD), "int8", 16, 1.0, 8, True
        )
        for i in range(CHILDREN)
    }
    aggregated = Aggregated(
        round=day, f=0, seed=1, pipeline=("mean",), seats=seats, applied=(), moved=1, updates={},
        agreement={},
    )  # fmt: skip
    return [aggregated, _release(store, version, ReleaseKind.ROUND, day)]


def _trained(store: Sizes, day: int) -> Trained:
    measured = TrainingMeasured(
        first_loss=1.0, last_loss=1.0, tokens=1, seconds=1.0, replayed={}, fresh=1, old={},
        share=0.0, length=1.0,
    )  # fmt: skip
    adapter = store.name(ADAPTER)
    return Trained(
        round=day, delta=store.name(ADAPTER), started=1, samples=1, measured=measured,
        adapter=adapter,
    )  # fmt: skip


@pytest.mark.parametrize(("is_device", "most"), [(True, 200_000_000), (False, 1_000_000_000)])
def test_a_year_of_a_release_a_day_stays_within_the_default(
    is_device: bool, most: int, tmp_path: Path
) -> None:
    store, state, now = Sizes(), NodeState(), [0]
    settings = RetentionSettings()
    with Ledger.open(tmp_path / "ledger.sqlite", lambda: now[0]) as ledger:
        for day, of_day in groupby(a_year(store, is_device=is_device), lambda told: told[0]):
            now[0] = day * DAY_MS
            events = [event for _, told in of_day for event in told]
            ledger.append_all([write(event) for event in events])
            for event in events:
                state.apply(event, now[0])

        def planned(**changes: Any) -> retention.Plan:
            policy = settings.model_copy(update=changes).policy(is_device=is_device)
            return retention.plan(
                state, cast(Events, ledger), cast(Artefacts, store), policy, now[0]
            )

        plan, unbounded = planned(), planned(max_bytes=10**12)
    whole = plan.bytes + plan.spare.bytes
    assert plan.bytes < most < whole
    assert plan.missing == ()
    # The default windows fit: the maximum of bytes does not cut them short.
    assert plan.keep == unbounded.keep
    assert {ZERO} & plan.keep == set()
