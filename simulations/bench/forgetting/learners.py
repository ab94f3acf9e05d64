"""Who learns one source after another, and how.

A *device* learns all sources itself, going on from one state. *Children* at a parent are online one
after another: each learns its own source from the parent's release, and its update alone makes the
round. The parent holds none of their text to train on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from aggregation import Updates, aggregate
from aggregation.gate import Budget, GatePolicy, Losses, choose_step, forgotten, judge
from aggregation.replay import ALIKE, ONLY_NEW, SHIFTED, Portion, stand_ins
from nodes.config.sections import TrainingSettings
from simulations.bench.forgetting.setting import ForgettingBench, State, Theta
from simulations.store import digest

POLICY = GatePolicy()
TOLERANCE = TrainingSettings().tolerance
STEPS = (1.0, 0.5, 0.25)
"""That a parent tries, as ``[rounds] steps`` has them."""


class Learner(ABC):
    """Learns the sources of a bench in their order."""

    @abstractmethod
    def states(self, bench: ForgettingBench) -> list[State]:
        """The state after each source."""


@dataclass(frozen=True)
class Plain(Learner):
    """Goes on training; a ``portion`` of a run is text of earlier sources."""

    portion: Portion = ONLY_NEW

    def states(self, bench: ForgettingBench) -> list[State]:
        """The state after each source."""
        at, states = bench.start, []
        for source in bench.scale.systems:
            at = bench.train(at, source, self.portion if at.read else ONLY_NEW)
            states.append(at)
        return states


@dataclass(frozen=True)
class Device(Learner):
    """Replays, and goes as far as is best on its own probes of all that it knows."""

    portion: Portion

    def states(self, bench: ForgettingBench) -> list[State]:
        """The state after each source."""
        at, states, best = bench.start, [], _Best()
        for source in bench.scale.systems:
            probes = [*at.read, source]
            current = bench.probe_losses(at, probes)
            best_losses = best.baseline(current)
            trained = bench.train(at, source, self.portion if at.read else ONLY_NEW)
            line = _Segment(bench, at, trained, probes)

            def forgets(losses: Losses, best_losses: Losses = best_losses) -> bool:
                return forgotten(losses, best_losses) > TOLERANCE

            chosen = choose_step(line.losses, forgets)
            size = chosen.size if chosen else 0.0
            bench.store.say(f"step {size} on {source}")
            at = line.to(size)
            best.take(chosen.losses if chosen else current)
            states.append(at)
        return states


@dataclass(frozen=True)
class Gated(Learner):
    """A parent with probes of every source, whose gate takes the largest step that passes.

    The updates of children who were there before stand in for them, fading, as in a node.
    """

    def states(self, bench: ForgettingBench) -> list[State]:
        """The state after each child."""
        at, states, best, budget = bench.start, [], _Best(), Budget()
        sources = bench.scale.systems
        updates: dict[str, Theta] = {}
        stood: dict[str, int] = {}
        for source in sources:
            current = bench.probe_losses(at, sources)
            best.take(current)
            trained = bench.train(at, source)
            factors = stand_ins(stood)
            updates[source] = trained.theta - at.theta
            rows = [updates[source], *(np.float32(f) * updates[s] for s, f in factors.items())]
            moved = aggregate(("mean",), Updates(rows), 0).vector
            made = digest([trained.made, at.made, factors])
            line = _Segment(bench, at, replace(trained, theta=at.theta + moved, made=made), sources)
            size = 0.0
            for step in STEPS:
                losses = line.losses(step)
                verdict = judge(current, losses, POLICY, budget, best.baseline(current))
                budget = verdict.budget
                if verdict.accepted:
                    size = step
                    best.take(losses)
                    break
            bench.store.say(f"step {size} on {source}")
            stood = {s: stood.get(s, 0) + (s in factors) for s in updates} | {source: 0}
            at = line.to(size)
            states.append(at)
        return states


@dataclass(frozen=True)
class _Segment:
    """The states between one and what training made of it."""

    bench: ForgettingBench
    at: State
    trained: State
    probes: Sequence[str]

    def to(self, step: float) -> State:
        theta = (self.at.theta + step * (self.trained.theta - self.at.theta)).astype(np.float32)
        made = digest([self.trained.made, self.at.made, step])
        return replace(self.trained, theta=theta, made=made)

    def losses(self, step: float) -> Losses:
        return self.bench.probe_losses(self.to(step), self.probes)


@dataclass
class _Best:
    """Of each source the losses of the best state that was held, on one set of probes."""

    by_source: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def baseline(self, current: Losses) -> Losses:
        return {**current, **self.by_source}

    def take(self, losses: Losses) -> None:
        for source, values in losses.items():
            if source not in self.by_source or values.mean() < self.by_source[source].mean():
                self.by_source[source] = values


DEVICE: Mapping[str, Learner] = {
    "plain": Plain(),
    "replay 5 %": Plain(ALIKE),
    "replay 25 %": Plain(Portion(0.25)),
    "full": Device(SHIFTED),
}
"""One device that learns all sources."""
CHILDREN: Mapping[str, Learner] = {"FedAvg": Plain(), "full": Gated()}
"""A parent whose children are online one after another. To average one update without memory is to
go on from where it ends: FedAvg is here what a plain device does."""
