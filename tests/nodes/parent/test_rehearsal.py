"""A candidate that gains but does harm goes over the parent's own text, and is judged once more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from aggregation.replay import ONLY_OLD, Portion
from nodes.config.sections import TrainingSettings
from nodes.model.learned import Learned
from nodes.model.probe import Probe
from nodes.parent.gate import REHEARSAL
from nodes.parent.parent import Parent
from nodes.parent.withdrawal import withdraw
from nodes.releases.rollback import roll_back
from nodes.text.documents import Part
from nodes.text.replay_buffer import ReplayBuffer
from tests.nodes.toy import Member, Quadratic, Tree, Vector, tree

OLD = [f"what was learned before, number {i}" for i in range(40)]
SMALL, LARGE = 0.1, 1.0
"""How far the children's target lies from the old one: a rehearsal can make up for the first."""


@dataclass
class TwoSources(Quadratic):
    """New text is about the first half of the coordinates, old text about the second."""

    rehearsed: list[Mapping[str, Sequence[str]]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def losses(
        self, thetas: Sequence[Vector], probes: Mapping[str, Sequence[Probe]]
    ) -> list[dict[str, NDArray[np.float64]]]:
        half = len(self.target) // 2
        part = {"all": slice(half), "old": slice(half, None)}

        def loss(theta: Vector, source: str) -> float:
            away = (theta - self.target).astype(np.float64)[part[source]]
            return 500.0 * float((away**2).sum())

        return [{s: np.full(len(of), loss(t, s)) for s, of in probes.items()} for t in thetas]

    def train(
        self,
        theta: Vector,
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        """A rehearsal brings the second half back."""
        assert not texts
        assert portion == ONLY_OLD
        self.rehearsed.append(old)
        self.steps.append(training.steps)
        delta = self.target - theta
        delta[: len(delta) // 2] = 0
        return Learned(delta.astype(np.float32), (1.0,), 1, 0.0, {}, ())


def family(made: Tree, drift: float, *, text: bool = True, steps: int = 5) -> Member:
    """A root that holds old text, and a device whose target does harm to it."""
    root = made.root()
    target = np.zeros(root.node.size, np.float32)
    target[: len(target) // 2] = 1.0
    root.toy = TwoSources(target)
    childs = target.copy()
    childs[len(target) // 2 :] = drift
    made.child(root, "device", "/", childs)
    probes = root.config.data.probes
    root.config = root.config.model_copy(
        update={
            "data": root.config.data.model_copy(
                update={"probes": {"all": probes["all"], "old": probes["all"]}}
            ),
            "gate": root.config.gate.model_copy(update={"rehearsal_steps": steps}),
        }
    )
    if text:
        with ReplayBuffer(root.node.home.folder, root.config.replay.budgets()) as buffer:
            buffer.take_in("old", OLD, child="shared", part=Part.TRAINING)
    root.parent = Parent(root.node, root.config, root.toy)
    root.rounds()
    return root


def gates(root: Member) -> list[dict[str, Any]]:
    return [dict(event.body) for event in root.node.ledger.events(["gate"])]


@pytest.fixture
def made(tmp_path: Path, base: Path) -> Iterator[Tree]:
    with tree(tmp_path, base) as grown:
        yield grown


def test_a_rehearsal_rescues_what_did_harm(made: Tree) -> None:
    root = family(made, SMALL)
    *refused, passed = gates(root)
    assert [(g["step"], g["accepted"]) for g in refused] == [(s, False) for s in (1.0, 0.5, 0.25)]
    assert {r["code"] for g in refused for r in g["reasons"]} == {"source-harmed"}
    assert (passed["step"], passed["accepted"]) == (0.25, True)
    assert root.node.state.gate.tests == 4  # it is charged like every test
    assert isinstance(root.toy, TwoSources)
    assert [set(texts["old"]) for texts in root.toy.rehearsed] == [set(OLD)]
    *_, release = root.node.ledger.events(["released"])
    assert release.body["rehearsal"] == passed["rehearsal"] != ""
    rehearsal = root.node.vector(passed["rehearsal"])
    half = len(rehearsal) // 2
    np.testing.assert_allclose(root.node.effective()[half:], 0, atol=1e-6)
    assert root.node.effective()[:half].min() > 0.1


def test_a_rehearsal_is_short_and_what_it_cannot_repair_is_refused(made: Tree) -> None:
    root = family(made, LARGE)
    *steps, last = gates(root)
    assert len(steps) == 3
    assert not last["accepted"]
    rehearsal = root.node.vector(last["rehearsal"])
    learned = root.members["device"].node.state.offers.trained
    assert learned is not None
    displacement = last["step"] * np.linalg.norm(root.node.vector(learned.delta))
    assert np.linalg.norm(rehearsal) == pytest.approx(REHEARSAL * displacement, rel=1e-3)
    assert root.node.state.own.version == 1
    assert root.node.state.gate.tests == 4
    *_, closed = root.node.ledger.events(["round-closed"])
    assert closed.body["outcome"] == "refused-by-gate"


@pytest.mark.parametrize("without", [{"text": False}, {"steps": 0}])
def test_without_text_or_switched_off_there_is_none(made: Tree, without: dict[str, Any]) -> None:
    root = family(made, SMALL, **without)
    assert len(gates(root)) == 3
    assert root.node.state.own.version == 1


def test_what_gains_nothing_is_not_rehearsed(made: Tree) -> None:
    root = family(made, SMALL)
    assert isinstance(root.toy, TwoSources)
    device = root.members["device"]
    device.toy.target = root.node.effective() - 1  # away from everything
    root.rounds()
    assert len(root.toy.rehearsed) == 1
    assert not gates(root)[-1]["accepted"]


def test_withdrawing_the_child_leaves_what_the_parent_rehearsed(made: Tree) -> None:
    root = family(made, SMALL)
    (rehearsal,) = (g["rehearsal"] for g in gates(root) if g["rehearsal"])
    withdraw(root.node, root.members["device"].node.home.id)
    np.testing.assert_allclose(root.node.effective(), root.node.vector(rehearsal), atol=1e-6)


def test_a_rollback_takes_the_rehearsal_back(made: Tree) -> None:
    root = family(made, SMALL)
    roll_back(root.node, 1)
    np.testing.assert_allclose(root.node.effective(), 0, atol=1e-6)
