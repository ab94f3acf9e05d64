"""A whole tree in one process whose model is a point: real nodes, ledgers and signatures, with a
quadratic loss in place of a language model, and a clock that the test moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from aggregation.replay import Portion
from nodes.child.child import Child
from nodes.config.files import load_config
from nodes.config.sections import NodeConfig, TrainingSettings
from nodes.learning.trials import Judged
from nodes.machine.clock import ManualClock, SystemClock
from nodes.model.learned import Learned
from nodes.model.probe import Probe
from nodes.parent.parent import Parent
from nodes.parent.tasks import Request
from nodes.releases.publish import start_root
from nodes.state.home import open_home
from nodes.state.node import Node
from protocol import Role
from tests.nodes.network import ROUNDS, add_child, make_root

Vector = NDArray[np.float32]
TOY_ROUNDS: dict[str, Any] = ROUNDS | {
    "retry_s": 3600,
    "resend_s": 1,
    "deadline_s": 3000,
    "pause_s": 1,
    "payload_format": "float32",
    "pipeline": ["mean"],
}


@dataclass
class Quadratic:
    """Losses ‖Θ − target‖², times so much that small gains show; training goes part of the way."""

    target: Vector
    rate: float = 0.5
    lessons: list[tuple[list[str], dict[str, list[str]], Portion]] = field(default_factory=list)
    """What each training run was made of: new texts, old ones, how much of those."""

    def keep_loaded(self) -> AbstractContextManager[None]:
        return nullcontext()

    def losses(
        self, thetas: Sequence[Vector], probes: Mapping[str, Sequence[Probe]]
    ) -> list[dict[str, NDArray[np.float64]]]:
        return [
            {s: np.full(len(texts), self.loss(t)) for s, texts in probes.items()} for t in thetas
        ]

    def loss(self, theta: Vector) -> float:
        """Of one effective model."""
        return 500.0 * float(((theta.astype(np.float64) - self.target) ** 2).sum())

    def train(
        self,
        theta: Vector,
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        replayed = {source: list(of) for source, of in old.items()}
        self.lessons.append((list(texts), replayed, portion))
        delta = (self.rate * (self.target - theta)).astype(np.float32)
        seen = tuple(range(len(texts)))
        return Learned(delta, (1.0, 0.5), 1, 0.0, dict.fromkeys(old, 1), seen)


@dataclass
class Member:
    """One node of the toy."""

    node: Node
    config: NodeConfig
    toy: Quadratic
    parent: Parent | None = None
    members: dict[str, Member] = field(default_factory=dict)
    share: float | None = None

    def child(self) -> Child:
        """What answers for it; with ``share`` it follows every change above by that share."""
        share = self.share
        judge = None if share is None else lambda _: Judged(share)
        return Child(self.node, self.config, self.toy, judge=judge)

    def advance(self, milliseconds: int) -> None:
        """Let time pass."""
        cast(ManualClock, self.node.clock).advance(milliseconds)

    def rounds(self) -> None:
        """One round with the children that are there."""
        assert self.parent is not None
        waiting: list[Request] = []
        for _ in range(2):  # the first time may only end a round whose deadline had passed
            if not waiting:
                self.advance(2000)
                waiting = self.parent.step()
        by_id = {member.node.home.id: member for member in self.members.values()}
        while waiting:
            request = waiting.pop(0)
            if member := by_id.get(request.child):
                kind, blobs = member.child().answer(request.blobs)
                waiting += self.parent.receive(request.child, request.task, kind, blobs)

    def close_round(self) -> None:
        """Let the deadline of the open round pass."""
        assert self.parent is not None
        self.advance(3_600_000)
        self.parent.step()


@dataclass
class Tree:
    """Makes and opens the members of a tree below one folder."""

    folder: Path
    base: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(SystemClock().now_ms()))
    opened: list[Member] = field(default_factory=list)

    def root(self, target: Vector | None = None, **rounds: Any) -> Member:
        """The root; ``rounds`` are settings in place of the toy's."""
        settings = TOY_ROUNDS | rounds
        member = self._open(make_root(self.folder / "root", self.base, settings), target)
        start_root(member.node)
        member.parent = Parent(member.node, member.config, member.toy)
        return member

    def child(
        self,
        above: Member,
        name: str,
        scope: str,
        target: Vector | None,
        role: Role = Role.DEVICE,
        mode: str = "plain",
        probed: bool = False,
    ) -> Member:
        folder = add_child(
            above.node.home.folder,
            self.folder / name,
            self.base,
            scope=scope,
            role=role,
            rounds=TOY_ROUNDS,
            mode=mode,
            probed=probed,
        )
        member = self._open(folder, target)
        above.members[name] = member
        return member

    def ready(self, member: Member) -> None:
        """An interior node opens for children once it holds a chain."""
        member.parent = Parent(member.node, member.config, member.toy)

    def restart(self, member: Member) -> None:
        """End the process of a member, wherever it is, and start it from its ledger."""
        fresh = self.reopen(member)
        member.node.close()
        member.node = fresh.node
        if member.parent is not None:
            self.ready(member)

    def close(self) -> None:
        """Close every ledger."""
        for member in self.opened:
            member.node.close()

    def reopen(self, member: Member) -> Member:
        """The same folder, as a process that starts now reads it."""
        return self._open(member.node.home.folder, member.toy.target)

    def _open(self, folder: Path, target: Vector | None) -> Member:
        home = open_home(folder, self.clock.now_ms())
        node = Node(home, self.clock)
        zero = np.zeros(node.size, np.float32)
        toy = Quadratic(zero if target is None else target)
        member = Member(node, load_config(folder / "node.toml"), toy)
        self.opened.append(member)
        return member


@contextmanager
def tree(folder: Path, base: Path) -> Iterator[Tree]:
    """A tree whose ledgers are closed at the end."""
    made = Tree(folder, base)
    try:
        yield made
    finally:
        made.close()


def distance(member: Member, target: Vector) -> float:
    """How far a member's effective model is from a point."""
    return float(np.linalg.norm(member.node.effective() - target))
