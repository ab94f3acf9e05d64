"""Choose how far to go along a displacement: as far as the whole gains and no source is harmed.

Along a straight line from the current state, new knowledge is gained early and old knowledge is
lost late: half of a step keeps most of the gain and avoids most of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aggregation.gate.judgement import Losses

STEPS = (1.0, 0.75, 0.5, 0.25)


@dataclass(frozen=True, eq=False)
class Step:
    """A part of a displacement, and the losses on every probe when it is taken."""

    size: float
    losses: Losses


def choose_step(
    measure: Callable[[float], Losses],
    harms: Callable[[Losses], bool],
    steps: Sequence[float] = STEPS,
) -> Step | None:
    """Choose the step with the least mean loss among those that do no harm; None if all do harm.

    Sources count alike. Steps are tried from the largest on, and no more once a smaller one is no
    better. It costs no training, only measuring.

    Args:
        measure: the losses of the state that a step leads to; always on the same probes.
        harms: whether a state with these losses is not to be held.
    """
    chosen: Step | None = None
    for size in sorted(steps, reverse=True):
        step = Step(size, measure(size))
        if harms(step.losses):
            continue
        if chosen is not None and _mean(step.losses) >= _mean(chosen.losses):
            break
        chosen = step
    return chosen


def forgotten(losses: Losses, best: Losses) -> float:
    """Return how far sources lie above the best state ever held of each: mean, nats per token.

    A source that is better than ever counts as 0: it does not compensate for another.
    """
    risen = [float(losses[source].mean() - lowest.mean()) for source, lowest in best.items()]
    return sum(max(0.0, rise) for rise in risen) / len(risen)


def _mean(losses: Losses) -> float:
    return sum(float(values.mean()) for values in losses.values()) / len(losses)
