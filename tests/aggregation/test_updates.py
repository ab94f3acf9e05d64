"""Claims about what a rule is never given, and what rows are to it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from aggregation import AggregationError, Updates, aggregate


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("column", [0, 65_536, 70_000])
def test_a_coordinate_that_is_not_finite_is_refused(bad: float, column: int) -> None:
    values = np.zeros((2, 70_001), np.float32)
    values[1, column] = bad
    with pytest.raises(AggregationError) as refused:
        Updates(values)
    assert refused.value.code == "not-finite"


VALUES = np.zeros((2, 3), np.float32)
HOLDS = np.ones((2, 3), np.bool_)


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((2, 3), np.float64),
        np.zeros((2, 3), np.float16),
        np.zeros((2, 3), np.int32),
        np.zeros((2, 3), ">f4"),
        np.zeros(3, np.float32),
        np.zeros((2, 3, 1), np.float32),
        np.zeros((3, 2), np.float32).T,
        [np.zeros(3, np.float32), np.zeros(2, np.float32)],
        [np.zeros(3, np.float32), np.zeros((1, 3), np.float32)],
        [np.zeros(3, np.float32), np.zeros(6, np.float32)[::2]],
        [np.zeros(3, np.float32), [0.0, 0.0, 0.0]],
    ],
)
def test_rows_of_the_wrong_shape_or_type_are_refused(rows: Any) -> None:
    with pytest.raises(AggregationError) as refused:
        Updates(rows)
    assert refused.value.code == "bad-updates"


@pytest.mark.parametrize(
    "masks",
    [
        np.ones((2, 2), np.bool_),
        np.ones((3, 3), np.bool_),
        np.ones((2, 3), np.int8),
        np.ones((2, 3), np.float32),
        [HOLDS[0]],
        [HOLDS[0], HOLDS],
        [[True, True, True], [True, True, True]],
    ],
)
def test_masks_of_the_wrong_shape_or_type_are_refused(masks: Any) -> None:
    with pytest.raises(AggregationError) as refused:
        Updates(VALUES, masks)
    assert refused.value.code == "bad-updates"


@pytest.mark.parametrize(
    "seats", [[1], [1, 1, 1], [0, 1], [1, -1], [1, 2**62], [1, 1.5], [1, np.nan]]
)
def test_seats_that_are_no_counts_are_refused(seats: Any) -> None:
    with pytest.raises(AggregationError) as refused:
        Updates(VALUES, seats=seats)
    assert refused.value.code == "bad-updates"


def test_updates_may_have_no_coordinates() -> None:
    found = aggregate("krum", Updates(np.zeros((3, 0), np.float32)), 1)
    assert found.vector.shape == (0,)
    assert found.moved == 0


def test_what_is_not_held_must_be_finite_too() -> None:
    rows = np.array([[0, np.nan]], np.float32)
    with pytest.raises(AggregationError) as refused:
        Updates(rows, np.array([[True, False]]))
    assert refused.value.code == "not-finite"


def order_of_content(updates: Updates) -> list[tuple[bytes, bytes]]:
    """What the rows hold, as the canonical order has them, each as often as it has seats."""
    masks = updates.masks or [np.ones(updates.size, np.bool_)] * updates.count
    return [
        (masks[row].tobytes(), np.where(masks[row], updates.rows[row][:], 0).tobytes())
        for row in updates.canonical_order()
        for _ in range(updates.seats[row])
    ]


@pytest.mark.parametrize("seats", [None, [1, 3, 2, 1, 4]])
def test_the_order_of_rows_follows_from_their_content(seats: list[int] | None) -> None:
    rows = np.random.default_rng(13).integers(0, 2, (5, 3)).astype(np.float32)
    turned = [4, 2, 0, 1, 3]
    other = Updates(
        np.ascontiguousarray(rows[turned]), seats=seats and [seats[row] for row in turned]
    )
    assert order_of_content(Updates(rows, seats=seats)) == order_of_content(other)


def test_seats_do_not_change_the_order_of_rows() -> None:
    rows = np.random.default_rng(14).standard_normal((6, 3), dtype=np.float32)
    seats = [3, 1, 2, 1, 4, 1]
    told = Updates(np.repeat(rows, seats, axis=0))
    assert order_of_content(Updates(rows, seats=seats)) == order_of_content(told)


@pytest.mark.parametrize("turned", [[1, 0, 2], [2, 1, 0], [1, 2, 0]])
def test_what_a_row_does_not_hold_is_no_zero_to_the_order(turned: list[int]) -> None:
    rows = np.array([[1, 0], [1, 5], [1, 0]], np.float32)
    masks = np.array([[True, True], [True, False], [False, True]])
    other = Updates(rows[turned], masks[turned])
    assert order_of_content(Updates(rows, masks)) == order_of_content(other)


def test_what_is_not_held_does_not_change_the_order_of_rows() -> None:
    rng = np.random.default_rng(15)
    rows = rng.integers(0, 2, (12, 3)).astype(np.float32)
    masks = np.array([[True, False, True], [False, True, True]])[rng.integers(0, 2, 12)]
    other = np.where(masks, rows, rng.standard_normal((12, 3))).astype(np.float32)
    assert Updates(rows, masks).canonical_order() == Updates(other, masks).canonical_order()
