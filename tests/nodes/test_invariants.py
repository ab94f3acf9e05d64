"""What holds of a tree whatever happens to it (DESIGN section 4).

Real nodes with ledgers and signatures; the model is a point with a quadratic loss, so that "worse"
and "counted twice" can be said exactly.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aggregation.gate import TOLERANCES, ProbeKind
from nodes.errors import NodeError
from nodes.parent.withdrawal import withdraw
from nodes.releases.rollback import roll_back
from protocol import ReleaseKind, Role
from tests.nodes.toy import Member, Tree, distance

SCOPES = ("/en", "/es")
TOLERANCE = TOLERANCES[ProbeKind.ORDINARY]
ROUNDING = 1e-3
"""Of a loss: the toy's losses are in the tens of thousands."""

_BASE: list[Path] = []


@pytest.fixture(autouse=True, scope="module")
def _base(base: Path) -> None:
    _BASE[:] = [base]


class Life(RuleBasedStateMachine):
    """A root, two scopes below it, and two devices below each: one plain, one personal."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.tree = Tree(Path(self._folder.name), _BASE[0])
        self.root = self.tree.root()
        rng = np.random.default_rng(3)
        self.middles: list[Member] = []
        for scope in SCOPES:
            target = rng.standard_normal(self.root.node.size).astype(np.float32)
            middle = self.tree.child(self.root, scope[1:], scope, target, Role.INTERIOR)
            self.middles.append(middle)
        self.root.toy.target = np.mean([m.toy.target for m in self.middles], axis=0)
        self.root.rounds()
        self.root.close_round()
        for middle, scope in zip(self.middles, SCOPES, strict=True):
            self.tree.ready(middle)
            for mode in ("plain", "personal"):
                name = f"{mode}-{scope[1:]}"
                self.tree.child(middle, name, scope, middle.toy.target, mode=mode, probed=True)
        self.least: dict[str, float] = {}
        self.versions: dict[str, int] = {}
        self.undone: dict[str, int] = {}

    def teardown(self) -> None:
        self.tree.close()
        self._folder.cleanup()

    def members(self) -> dict[str, Member]:
        found = {"root": self.root} | self.root.members
        for middle in self.middles:
            found |= middle.members
        return found

    # -- what may happen

    @rule(which=st.sampled_from([0, 1]))
    def a_scope_learns(self, which: int) -> None:
        self.middles[which].rounds()

    @rule()
    def the_root_collects(self) -> None:
        self.root.rounds()

    @rule()
    def a_deadline_passes(self) -> None:
        for member in (self.root, *self.middles):
            member.close_round()

    @rule(which=st.sampled_from([0, 1]), seed=st.integers(0, 9))
    def a_device_sends_poison(self, which: int, seed: int) -> None:
        """Its update passes admission; only the gate can see what it does."""
        device = next(iter(self.middles[which].members.values()))
        honest = device.toy.target
        rng = np.random.default_rng(seed)
        device.toy.target = 3 * rng.standard_normal(honest.size).astype(np.float32)
        self.middles[which].rounds()
        device.toy.target = honest

    @rule(name=st.sampled_from(["root", "en", "es", "plain-en", "personal-es"]))
    def a_node_crashes(self, name: str) -> None:
        member = self.members()[name]
        self.tree.restart(member)

    @rule(name=st.sampled_from(["root", "en", "es"]), part=st.floats(0, 1))
    def a_person_rolls_back(self, name: str, part: float) -> None:
        node = self.members()[name].node
        to = 1 + int(part * (node.state.own.version - 1))
        if to >= node.state.own.version or node.state.own.is_undone(to):
            return
        later = [
            node.state.own.published[v].kind for v in range(to + 1, node.state.own.version + 1)
        ]
        if all(kind == ReleaseKind.REBASE for kind in later):
            with pytest.raises(NodeError, match="nothing-to-undo"):
                roll_back(node, to)
            return
        roll_back(node, to)
        self.least.clear()  # from here on the best counts anew

    @precondition(lambda self: self.root.node.state.own.by_rounds)
    @rule(which=st.sampled_from([0, 1]))
    def a_person_withdraws_a_scope(self, which: int) -> None:
        node, child = self.root.node, self.middles[which].node.home.id
        gone = {v for w in node.state.own.withdrawn if w.child == child for v in w.moved}
        standing = [
            c.version
            for c in self.middles[which].node.state.offers.counted
            if not node.state.own.is_undone(c.version) and c.version not in gone
        ]
        if standing:
            withdraw(node, child, standing)
            self.least.clear()

    # -- what must hold

    @invariant()
    def no_version_goes_back(self) -> None:
        for name, member in self.members().items():
            version = member.node.state.own.version
            assert version >= self.versions.get(name, 0)
            self.versions[name] = version

    @invariant()
    def nobody_is_worse_than_the_best_it_held(self) -> None:
        for name, member in self.members().items():
            loss = member.toy.loss(member.node.effective())
            undone = sum(
                bool(event.body.get("undone", {}).get("installs"))
                for event in member.node.ledger.events(["chain-installed"])
            )
            if undone > self.undone.get(name, 0):  # it heard of a rollback only now
                self.undone[name] = undone
                self.least.pop(name, None)
            least = self.least.get(name, loss)
            assert loss <= least + TOLERANCE + ROUNDING * max(1.0, least), name
            self.least[name] = min(least, loss)

    @invariant()
    def what_is_on_offer_is_what_was_not_counted(self) -> None:
        """Nothing is counted twice and nothing is lost: a − b is what own rounds added, less what
        the parent counted of it and stands."""
        for middle in self.middles:
            node, state = middle.node, middle.node.state
            added = [p.moved for p in state.own.published.values() if p.kind != "rebase"]
            counted = [offer.delta for offer in state.offers.counted]
            expected = sum(map(node.vector, added)) - sum(map(node.vector, counted))
            on_offer = node.vector(state.own.adapter) - node.vector(state.offers.baseline)
            np.testing.assert_allclose(on_offer, expected, atol=1e-3)

    @invariant()
    def an_update_is_accepted_once(self) -> None:
        for member in (self.root, *self.middles):
            accepted = [
                verdict["update"]
                for event in member.node.ledger.events(["released"])
                for verdict in event.body["verdicts"]
                if verdict["verdict"] == "accepted"
            ]
            assert len(accepted) == len(set(accepted))

    @invariant()
    def every_ledger_verifies_and_tells_the_same_state(self) -> None:
        for member in self.members().values():
            assert member.node.ledger.verify() > 0


class Healing(Life):
    """At the end everybody is honest and online: every scope learns what there is to learn."""

    def teardown(self) -> None:
        try:
            for member in (self.root, *self.middles):
                member.close_round()
            before = self.root.toy.loss(self.root.node.effective())
            for _ in range(12):
                for middle in self.middles:
                    middle.rounds()
                self.root.rounds()
            for middle in self.middles:
                size = float(np.linalg.norm(middle.toy.target))
                assert distance(middle, middle.toy.target) < 0.05 * size
            assert self.root.toy.loss(self.root.node.effective()) <= before + ROUNDING * before
        finally:
            super().teardown()


QUICK: dict[str, Any] = {
    "deadline": None,
    "stateful_step_count": 12,
    "suppress_health_check": list(HealthCheck),
}
TestLife = pytest.mark.slow(Life.TestCase)
TestLife.settings = settings(max_examples=6, **QUICK)
TestHealing = pytest.mark.slow(Healing.TestCase)
TestHealing.settings = settings(max_examples=3, **QUICK)
