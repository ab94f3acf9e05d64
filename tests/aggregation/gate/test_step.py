"""Claims about the step that is chosen along a displacement."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from aggregation.gate import STEPS, Losses, choose_step, forgotten

Line = dict[str, tuple[float, float]]


def losses_of(line: Line, step: float) -> dict[str, NDArray[np.float64]]:
    """Of each source a parabola: where along the line it is least, and how steep."""
    return {s: np.full(3, 1 + steep * (step - least) ** 2) for s, (least, steep) in line.items()}


LINES = st.dictionaries(
    st.sampled_from(["new", "heart", "eye"]),
    st.tuples(st.floats(-1, 2), st.floats(0.01, 3)),
    min_size=1,
)


@given(LINES, st.floats(0.001, 0.5))
def test_it_is_the_best_of_the_steps_that_harm_nothing(line: Line, tolerance: float) -> None:
    best = {s: of for s, of in losses_of(line, 0).items() if s != "new"}

    def measure(step: float) -> Losses:
        return losses_of(line, step)

    def mean(step: float) -> float:
        return float(np.mean([of.mean() for of in measure(step).values()]))

    def harms(losses: Losses) -> bool:
        return any(losses[s].mean() > of.mean() + tolerance for s, of in best.items())

    allowed = [step for step in STEPS if not harms(measure(step))]
    chosen = choose_step(measure, harms)
    if not allowed:
        assert chosen is None
    else:
        assert chosen is not None
        assert chosen.size in allowed
        assert mean(chosen.size) == pytest.approx(min(map(mean, allowed)))


def test_nothing_smaller_is_measured_once_it_is_no_better() -> None:
    measured = []

    def measure(step: float) -> Losses:
        measured.append(step)
        return losses_of({"new": (1.0, 1.0)}, step)

    chosen = choose_step(measure, lambda _losses: False)
    assert chosen is not None
    assert chosen.size == 1.0
    assert measured == [1.0, 0.75]


def test_what_is_better_than_ever_makes_up_for_nothing() -> None:
    best = {"heart": np.array([1.0, 1.0]), "eye": np.array([2.0, 2.0])}
    now = {"heart": np.array([1.2, 1.0]), "eye": np.array([0.5, 0.5]), "new": np.array([9.0])}
    assert forgotten(now, best) == pytest.approx(0.05)
