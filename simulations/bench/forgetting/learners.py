"""Who learns one source after another, and how.

A *device* learns all sources itself, from one state on. *Children* at a parent are online one after
another: each learns its own source from the parent's release, and its update alone makes the
round. A parent holds none of their text to train on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aggregation.gate import TOLERANCES, Losses, ProbeKind, choose_step
from simulations.bench.forgetting.setting import Bench, State
from simulations.bench.kept import digest

TOLERANCE = TOLERANCES[ProbeKind.ORDINARY]


@dataclass(frozen=True)
class Learner:
    """How to learn a sequence.

    Attributes:
        share: of the training's tokens that are old text.
        chooses: whether the step is chosen on own probes of what is known.
    """

    share: float = 0.0
    chooses: bool = False

    def states(self, bench: Bench) -> list[State]:
        """The state after each source of the sequence."""
        at, states = bench.start, []
        best: dict[str, NDArray[np.float64]] = {}
        for source in bench.scale.systems:
            trained = bench.train(at, source, self.share if at.read else 0.0)
            at = self._chosen(bench, at, trained, source, best) if self.chooses else trained
            states.append(at)
        return states

    def _chosen(
        self,
        bench: Bench,
        at: State,
        trained: State,
        source: str,
        best: dict[str, NDArray[np.float64]],
    ) -> State:
        sources = [*at.read, source]

        def to(step: float) -> State:
            theta = (at.theta + step * (trained.theta - at.theta)).astype(np.float32)
            return replace(trained, theta=theta, made=digest([trained.made, at.made, step]))

        def measure(step: float) -> Losses:
            return bench.probe_losses(to(step), sources)

        chosen = choose_step(measure, best, TOLERANCE)
        state = to(chosen.size if chosen else 0.0)
        losses = chosen.losses if chosen else measure(0.0)
        for name, of in losses.items():
            if name not in best or of.mean() < best[name].mean():
                best[name] = of
        bench.kept.say(f"{source}: step {chosen.size if chosen else 0}")
        return state


DEVICE = {
    "plain": Learner(),
    "replay 5 %": Learner(share=0.05),
    "replay 25 %": Learner(share=0.25),
    "full": Learner(share=0.25, chooses=True),
}
"""One device that learns all sources."""
CHILDREN = {
    "FedAvg": Learner(),
    "full": Learner(chooses=True),
}
"""A parent whose children are online one after another. Averaging one update without memory is to
go on from where it ends, so the first is what a plain device does."""
