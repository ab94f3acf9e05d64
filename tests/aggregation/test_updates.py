"""Claims about what a rule is never given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aggregation import AggregationError, Updates


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 65_536, 70_000])
def test_a_coordinate_that_is_not_finite_is_refused(bad: float, column: int) -> None:
    values = np.zeros((2, 70_001), np.float32)
    values[1, column] = bad
    with pytest.raises(AggregationError) as refused:
        Updates(values)
    assert refused.value.code == "not-finite"


@pytest.mark.parametrize(
    ("values", "holders"),
    [
        (np.zeros((2, 3), np.float64), None),
        (np.zeros(3, np.float32), None),
        (np.zeros((3, 2), np.float32).T, None),
        (np.zeros((2, 3), np.float32), np.ones((2, 2), np.bool_)),
        (np.zeros((2, 3), np.float32), np.ones((2, 3), np.int8)),
    ],
)
def test_arrays_of_the_wrong_shape_or_type_are_refused(values: Any, holders: Any) -> None:
    with pytest.raises(AggregationError) as refused:
        Updates(values, holders)
    assert refused.value.code == "bad-updates"
