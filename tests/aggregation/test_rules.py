"""Claims about every rule, against a plain float64 reference."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from aggregation import RULES, AggregationError, Updates, aggregate
from aggregation.trimmed_mean import selection_network
from tests.aggregation.reference import reference

EVERY_RULE = sorted(RULES)
# Few distinct values make ties, large and tiny ones make sums depend on their order.
VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e30, -1e30, 1e-30, 3.0]),
    st.floats(-1e6, 1e6, width=32),
)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Updates, int]:
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 12))
    values = draw(arrays.arrays(np.float32, (n, d), elements=VALUES))
    holders = draw(st.none() | arrays.arrays(np.bool_, (n, d)))
    return Updates(values, holders), draw(st.integers(0, (n - 1) // 2))


def bits(vector: NDArray[np.float32]) -> bytes:
    return vector.tobytes()


@pytest.mark.parametrize("name", EVERY_RULE)
@given(problem=problems())
def test_a_rule_equals_its_reference(name: str, problem: tuple[Updates, int]) -> None:
    updates, f = problem
    trim = f if name == "trimmed_mean" else 0
    vector, kept, moved = reference(updates.values, updates.holders, f, trim)
    found = aggregate(name, updates, f)
    scale = float(np.abs(updates.values).max())
    np.testing.assert_allclose(found.vector, vector, rtol=1e-6, atol=1e-12 * scale)
    np.testing.assert_array_equal(found.kept, kept)
    assert found.moved == moved


@pytest.mark.parametrize("name", EVERY_RULE)
@given(problem=problems(), data=st.data())
def test_the_order_of_the_clients_changes_no_bit(
    name: str, problem: tuple[Updates, int], data: st.DataObject
) -> None:
    updates, f = problem
    order = data.draw(st.permutations(range(updates.count)))
    holders = None if updates.holders is None else np.ascontiguousarray(updates.holders[order])
    shuffled = aggregate(name, Updates(np.ascontiguousarray(updates.values[order]), holders), f)
    found = aggregate(name, updates, f)
    assert bits(shuffled.vector) == bits(found.vector)
    np.testing.assert_array_equal(shuffled.kept, found.kept[order])


@pytest.mark.parametrize("name", EVERY_RULE)
@given(problem=problems())
def test_what_a_client_does_not_hold_changes_no_bit(
    name: str, problem: tuple[Updates, int]
) -> None:
    updates, f = problem
    if updates.holders is None:
        return
    other = np.where(updates.holders, updates.values, np.float32(7))
    found = aggregate(name, updates, f)
    assert bits(aggregate(name, Updates(other, updates.holders), f).vector) == bits(found.vector)


@pytest.mark.parametrize("name", EVERY_RULE)
def test_wide_updates_are_aggregated_like_narrow_ones(name: str) -> None:
    """Blocks must not show: the reference for some columns of many, under three device ranks."""
    rng = np.random.default_rng(1)
    n, d, f = 11, 40_000, 2
    values = rng.standard_normal((n, d), dtype=np.float32)
    holders = np.ones((n, d), np.bool_)
    holders[:4, 9_000:] = False
    holders[4:7, 30_001:] = False
    found = aggregate(name, Updates(values, holders), f)
    columns = np.r_[0:50, 8_150:8_250, 8_950:9_050, 16_350:16_400, 29_950:30_050, 39_950:40_000]
    trim = f if name == "trimmed_mean" else 0
    vector, _, _ = reference(values[:, columns], holders[:, columns], f, trim)
    np.testing.assert_allclose(found.vector[columns], vector, rtol=1e-5, atol=1e-7)
    assert found.moved == 30_001


@pytest.mark.parametrize("name", EVERY_RULE)
def test_clients_that_differ_late_are_still_ordered(name: str) -> None:
    """The order of rows is decided by whatever column tells them apart, also the last."""
    values = np.zeros((3, 70_001), np.float32)
    values[:, -1] = [1e8, 1, -1e8]
    values[:, -2] = [1, 1e8, 3]
    forth, back = (
        aggregate(name, Updates(np.ascontiguousarray(v)), 0) for v in (values, values[::-1])
    )
    assert bits(forth.vector) == bits(back.vector)


@pytest.mark.parametrize("name", EVERY_RULE)
def test_a_coordinate_with_too_few_holders_does_not_move(name: str) -> None:
    holders = np.array([[True, True], [True, True], [True, False]])
    found = aggregate(name, Updates(np.ones((3, 2), np.float32), holders), 1)
    assert found.vector.tolist() == [1, 0]
    assert found.moved == 1


@pytest.mark.parametrize("name", EVERY_RULE)
@pytest.mark.parametrize(("n", "f"), [(0, 0), (2, 1), (4, 2)])
def test_too_few_updates_for_f_are_refused(name: str, n: int, f: int) -> None:
    with pytest.raises(AggregationError) as refused:
        aggregate(name, Updates(np.zeros((n, 3), np.float32)), f)
    assert refused.value.code == "too-few-updates"


@pytest.mark.parametrize("name", EVERY_RULE)
def test_a_negative_f_is_refused(name: str) -> None:
    with pytest.raises(AggregationError) as refused:
        aggregate(name, Updates(np.zeros((3, 3), np.float32)), -1)
    assert refused.value.code == "bad-f"


@pytest.mark.parametrize("name", EVERY_RULE)
def test_one_update_alone_is_the_aggregate(name: str) -> None:
    found = aggregate(name, Updates(np.array([[1.5, -2.0]], np.float32)), 0)
    assert found.vector.tolist() == [1.5, -2.0]
    assert found.kept.tolist() == [1.0]


def test_a_rule_that_nobody_knows_is_refused() -> None:
    with pytest.raises(AggregationError) as refused:
        aggregate("median-of-wishes", Updates(np.zeros((1, 1), np.float32)), 0)
    assert refused.value.code == "unknown-rule"


@pytest.mark.parametrize("name", EVERY_RULE)
@pytest.mark.parametrize("masked", [False, True])
def test_a_rule_needs_little_memory_beside_its_input(name: str, masked: bool) -> None:
    """Blocks: what it takes on top does not grow with n, and is far from n × d float64."""
    values = np.random.default_rng(3).standard_normal((40, 200_000), dtype=np.float32)
    holders = None
    if masked:
        holders = np.ones(values.shape, np.bool_)
        holders[::2, 100_000:] = False
    updates = Updates(values, holders)
    tracemalloc.start()
    try:
        aggregate(name, updates, 3)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < values.nbytes / 4


def test_f_attackers_cannot_move_the_trimmed_mean_out_of_the_honest_range() -> None:
    rng = np.random.default_rng(2)
    honest = rng.standard_normal((7, 1000), dtype=np.float32)
    attack = np.full((3, 1000), 1e30, np.float32) * rng.choice([-1, 1], (3, 1000))
    values = np.concatenate([honest, attack.astype(np.float32)])
    found = aggregate("trimmed_mean", Updates(values), 3)
    assert (found.vector >= honest.min(axis=0)).all()
    assert (found.vector <= honest.max(axis=0)).all()


def test_an_outvoted_update_keeps_no_share() -> None:
    values = np.array([[1, 1], [2, 2], [3, 3], [4, 4], [-100, 100]], np.float32)
    kept = aggregate("trimmed_mean", Updates(values), 1).kept
    assert kept[-1] == 0
    assert (kept[:-1] > 0).all()


@pytest.mark.parametrize(("n", "f"), [(n, f) for n in range(1, 11) for f in range((n + 1) // 2)])
def test_a_selection_network_separates_every_input(n: int, f: int) -> None:
    """By the zero-one principle it is enough to try every column of zeros and ones."""
    columns = np.array(list(itertools.product([0, 1], repeat=n)), np.float32).T
    wires = list(columns)
    for low, high, wants_low, wants_high in selection_network(n, f):
        a, b = wires[low], wires[high]
        wires[low] = np.minimum(a, b) if wants_low else np.full_like(a, np.nan)
        wires[high] = np.maximum(a, b) if wants_high else np.full_like(a, np.nan)
    found = np.sort(wires[f : n - f], axis=0)
    np.testing.assert_array_equal(found, np.sort(columns, axis=0)[f : n - f])
