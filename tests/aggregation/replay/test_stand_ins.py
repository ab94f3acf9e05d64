"""Claims about standing in for absent children."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation import AggregationError
from aggregation.replay import stand_ins


def test_an_absent_child_fades_by_halves_and_then_is_gone() -> None:
    factors = [stand_ins({"child": rounds}).get("child") for rounds in range(8)]
    assert factors[:3] == [0.5, 0.25, 0.125]
    assert factors[6:] == [None, None]


@given(st.integers(0, 100))
def test_however_long_it_is_away_it_counts_less_than_once_more(most: int) -> None:
    assert sum(sum(stand_ins({0: r}, most=most).values()) for r in range(100)) <= 1


def test_nobody_stands_in_for_a_child_that_is_barred() -> None:
    assert stand_ins({"bad": 0, "good": 0}, barred={"bad"}) == {"good": 0.5}


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(AggregationError, match="bad-stand-in"):
        stand_ins({"child": -1})
