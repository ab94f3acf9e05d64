"""Claims about the budget: it is never spent, and promotions refill it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import AggregationError
from aggregation.gate import Budget

ALPHA = 0.05


def test_a_node_that_never_promotes_spends_no_more_than_alpha_in_its_life() -> None:
    budget, spent = Budget(), 0.0
    for _ in range(5000):
        spent += budget.level(ALPHA)
        budget = budget.after(False)
    assert 0.9 * ALPHA < spent < ALPHA


@given(st.integers(0, 10_000), st.data())
def test_a_promotion_raises_the_next_level_and_a_test_lowers_it(
    tests: int, data: st.DataObject
) -> None:
    promotions = data.draw(st.integers(0, tests))
    budget = Budget(tests, promotions)
    assert 0 < budget.after(False).level(ALPHA) < budget.level(ALPHA) < 1
    assert budget.after(True).level(ALPHA) > budget.after(False).level(ALPHA)


def test_the_hundredth_level_is_far_above_that_of_an_inverse_square() -> None:
    assert Budget(99).level(ALPHA) > 3 * ALPHA * 6 / math.pi**2 / 100**2
    assert Budget(99, 50).level(ALPHA) > 1 / 2000


@pytest.mark.parametrize(("tests", "promotions"), [(-1, 0), (3, 4), (3, -1)])
def test_an_impossible_history_is_refused(tests: int, promotions: int) -> None:
    with pytest.raises(AggregationError) as refused:
        Budget(tests, promotions)
    assert refused.value.code == "bad-budget"
