"""Flower's strategies as simulated parents use them."""

from __future__ import annotations

import numpy as np
import pytest

from simulations.world.strategies import FLOWER, combined

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("strategy", FLOWER)
@pytest.mark.parametrize("count", [1, 2, 3, 7, 10])
def test_every_strategy_makes_something_of_few_updates(strategy: str, count: int) -> None:
    rows = np.random.default_rng(0).normal(1.0, 0.1, (count, 50)).astype(np.float32)
    vector = combined(strategy, rows, min(3, (count - 1) // 2))
    assert vector.shape == (50,)
    assert rows.min() <= vector.min() <= vector.max() <= rows.max()


def test_bulyan_withstands_as_many_as_it_has_updates_for() -> None:
    rows = np.random.default_rng(0).normal(1.0, 0.1, (10, 50)).astype(np.float32)
    rows[0] = 1e6
    assert np.abs(combined("flower:Bulyan", rows, 3) - 1).max() < 0.5
