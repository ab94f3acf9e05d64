"""Claims about every rule by itself, against a plain float64 reference."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aggregation import RULES, AggregationError, Updates, aggregate, selection
from aggregation.blocks import compiled_loops
from aggregation.order import selection_network
from tests.aggregation.checks import NEEDS, PRECISION, assert_allowed, bits
from tests.aggregation.reference import reference
from tests.aggregation.reference.centres import objective, typical_distance, weiszfeld
from tests.aggregation.reference.geometry import Row, combine, norm
from tests.aggregation.strategies import FAMILIES, TAME, Problem, any_masks, masks_by_rank, problems

EVERY_RULE = sorted(RULES)
COORDINATEWISE = ["mean", "trimmed_mean", "median", "mean_around_median"]
# The geometric median is known by its objective, everything else by its outcome.
WITH_AN_OUTCOME = [name for name in EVERY_RULE if name != "geometric_median"]
PROPERTY = settings(max_examples=25)


def test_the_rules_are_the_ones_that_are_defined() -> None:
    assert set(EVERY_RULE) == {
        *COORDINATEWISE,
        *("krum", "multi_krum", "mda", "bulyan", "geometric_median", "centred_clipping", "caf"),
    }


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", WITH_AN_OUTCOME)
@settings(max_examples=6)
@given(data=st.data())
def test_a_rule_finds_what_its_definition_says(name: str, family: str, data: st.DataObject) -> None:
    needs = NEEDS.get(name, (2, 1))
    problem = data.draw(problems([family], needs=needs, masked=False, seated=False))
    assert_allowed(name, problem, rtol=PRECISION.get(name, 3e-6))


@pytest.mark.parametrize("name", WITH_AN_OUTCOME)
@PROPERTY
@given(data=st.data())
def test_a_rule_finds_what_its_definition_says_under_masks(name: str, data: st.DataObject) -> None:
    needs = NEEDS.get(name, (2, 1))
    problem = data.draw(problems(needs=needs, masked=True, seated=False))
    assert_allowed(name, problem, rtol=PRECISION.get(name, 3e-6))


@pytest.mark.parametrize("name", WITH_AN_OUTCOME)
@PROPERTY
@given(data=st.data())
def test_a_rule_finds_what_its_definition_says_with_seats(name: str, data: st.DataObject) -> None:
    needs = NEEDS.get(name, (2, 1))
    problem = data.draw(problems(needs=needs, most=6, all_seats=12, seated=True))
    assert_allowed(name, problem, rtol=PRECISION.get(name, 3e-6))


@pytest.mark.parametrize("name", [*COORDINATEWISE, "krum", "multi_krum", "centred_clipping", "caf"])
@settings(max_examples=8)
@given(problem=problems(["scattered"], least=13, most=24, widest=40))
def test_a_rule_finds_what_its_definition_says_among_many(name: str, problem: Problem) -> None:
    assert_allowed(name, problem, rtol=PRECISION.get(name, 3e-6))


@settings(max_examples=15)
@given(problem=problems(["tied"], most=5, widest=6, masked=False, seated=False))
def test_one_order_of_the_rows_decides_every_tie(problem: Problem) -> None:
    """Small integers are exact, so every tie is a tie, and one order explains all rules."""
    names = ["krum", "multi_krum"]
    found = {name: aggregate(name, problem.updates, problem.f).vector for name in names}

    def explains(order: tuple[int, ...]) -> bool:
        told = problem.reordered(order)
        return all(
            np.allclose(
                reference(name, list(told.rows), None, None, told.f).vector, found[name], rtol=1e-6
            )
            for name in names
        )

    assert any(explains(order) for order in itertools.permutations(range(len(problem.rows))))


# Where the median is a row that all others pull at almost as hard as it holds, the iteration
# creeps: sixty steps may leave some thousandths of the objective.
@pytest.mark.parametrize("plain", [True, False])
@PROPERTY
@given(data=st.data())
def test_no_vector_is_closer_to_all_than_the_geometric_median(
    plain: bool, data: st.DataObject
) -> None:
    """Its objective is the least of what long iteration and every single row reach."""
    alone = False if plain else None
    families = ["scattered"] if plain else TAME
    problem = data.draw(problems(families, most=8, widest=6, masked=alone, seated=alone))
    excess = 1e-3 if plain else 5e-3  # after at most sixty steps
    told = problem.written_out()
    moving = told.moving()
    rows: list[Row] = [
        {int(c): float(row[c]) for c in np.flatnonzero(holds & moving)}
        for row, holds in zip(told.rows, told.held(), strict=True)
    ]
    d = int(moving.sum())
    if d == 0 or typical_distance(rows, d) == 0:
        return
    found = aggregate("geometric_median", problem.updates, problem.f).vector
    w = weiszfeld(rows, d, [1.0] * len(rows), 1e-6 * typical_distance(rows, d), 1500, still=0)
    complete = [row for row in rows if len(row) == d]
    best = min(objective(rows, d, z) for z in [combine(rows, w), *complete])
    reached = objective(rows, d, {int(c): float(found[c]) for c in np.flatnonzero(moving)})
    rounding = 1e-7 * len(rows) * max(norm(row, d) for row in rows)
    assert reached <= best * (1 + excess) + rounding


def test_what_almost_all_say_is_the_geometric_median() -> None:
    """Half of all pairs agree to the bit: there the minimiser is the row that most of them are."""
    rows = np.array([[1, 2]] * 8 + [[1e30, -1e30], [-1e20, 5]], np.float32)
    found = aggregate("geometric_median", Updates(rows), 2)
    assert found.vector == pytest.approx([1, 2], rel=1e-4)


@pytest.mark.parametrize("name", sorted(set(EVERY_RULE) - {"mean", "bulyan"}))
def test_who_agrees_where_a_small_device_looks_may_still_be_far_out(name: str) -> None:
    """To the third row all others are at distance 0, and yet they are not equal."""
    rows = np.array([[0, 1, 1], [0, 1, 1], [0, 9, 9], [0, 1, 1], [0, -1e30, 1e30]], np.float32)
    whole, first = np.array([True] * 3), np.array([True, False, False])
    found = aggregate(name, Updates(rows, [whole, whole, first, whole, whole]), 1)
    assert np.abs(found.vector).max() <= 2


@pytest.mark.parametrize("name", EVERY_RULE)
@pytest.mark.parametrize("masked", [False, True])
@settings(max_examples=3)
@given(seed=st.integers(0, 2**32 - 1))
def test_wide_updates_are_aggregated_like_narrow_ones(name: str, masked: bool, seed: int) -> None:
    """Blocks must not show: a vector told many times over has its outcome as many times."""
    rng, times = np.random.default_rng(seed), 20_000
    rows = rng.standard_normal((9, 5), dtype=np.float32)
    masks = masks_by_rank(rng, 9, 5) if masked else None
    narrow = aggregate(name, Updates(rows, masks), 1)
    wide_masks = masks and [np.tile(mask, times) for mask in masks]
    found = aggregate(name, Updates(np.tile(rows, times), wide_masks), 1)
    # Of many coordinates not all are asked whom a rule kept.
    np.testing.assert_allclose(found.weights, narrow.weights, rtol=0, atol=5e-3)
    np.testing.assert_allclose(
        found.vector.reshape(times, 5), np.tile(narrow.vector, (times, 1)), rtol=0, atol=1e-5
    )
    assert found.moved == times * narrow.moved


def test_many_columns_under_device_ranks_are_trimmed_each_by_itself() -> None:
    rng = np.random.default_rng(1)
    n, d, f = 11, 40_000, 2
    rows = rng.standard_normal((n, d), dtype=np.float32)
    ranks = [np.arange(d) < width for width in (9_000, 30_001, d)]
    masks = [ranks[0]] * 4 + [ranks[1]] * 3 + [ranks[2]] * 4
    columns = np.r_[0:50, 8_150:8_250, 8_950:9_050, 16_350:16_400, 29_950:30_050, 39_950:40_000]
    for name in COORDINATEWISE:
        found = aggregate(name, Updates(rows, masks), f)
        few = reference(name, list(rows[:, columns]), [mask[columns] for mask in masks], None, f)
        np.testing.assert_allclose(found.vector[columns], few.vector, rtol=1e-5, atol=1e-7)
        assert found.moved == 30_001


@pytest.mark.parametrize("name", EVERY_RULE)
def test_updates_that_differ_late_are_still_ordered(name: str) -> None:
    """The order of rows is decided by whatever column tells them apart, also the last."""
    rows = np.zeros((3, 70_001), np.float32)
    rows[:, -1] = [1e8, 1, -1e8]
    rows[:, -2] = [1, 1e8, 3]
    forth, back = (
        aggregate(name, Updates(np.ascontiguousarray(told)), 0) for told in (rows, rows[::-1])
    )
    assert bits(forth) == bits(back)


@pytest.mark.parametrize("name", EVERY_RULE)
@pytest.mark.parametrize("masked", [False, True])
def test_a_rule_needs_little_memory_beside_its_input(
    name: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of a fixed size, for each core: never a copy of the input."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    rows = np.tile(np.random.default_rng(3).standard_normal((40, 50_000), dtype=np.float32), 8)
    full, half = np.ones(400_000, np.bool_), np.arange(400_000) < 200_000
    updates = Updates(rows, [full, half] * 20 if masked else None)
    compiled_loops(rows.size)  # what is loaded once, with all that it imports
    peaks = []
    for _ in range(2):  # threads that other tests left may need some too
        tracemalloc.start()
        try:
            aggregate(name, updates, 1)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) < rows.nbytes / 2


@pytest.mark.parametrize("name", EVERY_RULE)
def test_a_coordinate_with_too_few_holders_does_not_move(name: str) -> None:
    f = 1
    n = 4 * f + 3 if name == "bulyan" else 2 * f + 1
    both, first = np.array([True, True]), np.array([True, False])
    found = aggregate(name, Updates(np.ones((n, 2), np.float32), [both] * 2 + [first] * (n - 2)), f)
    assert found.vector.tolist() == [1, 0]
    assert found.moved == 1


@pytest.mark.parametrize("name", EVERY_RULE)
def test_nothing_moves_where_nobody_holds_anything(name: str) -> None:
    nothing = np.zeros(4, np.bool_)
    found = aggregate(name, Updates(np.ones((7, 4), np.float32), [nothing] * 7), 1)
    assert found.vector.tolist() == [0, 0, 0, 0]
    assert found.moved == 0


@pytest.mark.parametrize("name", EVERY_RULE)
@pytest.mark.parametrize(("n", "f"), [(0, 0), (2, 1), (4, 2)])
def test_too_few_updates_for_f_are_refused(name: str, n: int, f: int) -> None:
    with pytest.raises(AggregationError) as refused:
        aggregate(name, Updates(np.zeros((n, 3), np.float32)), f)
    assert refused.value.code == "too-few-updates"


@pytest.mark.parametrize("n", [3, 6])
def test_bulyan_needs_more_than_any_other_rule(n: int) -> None:
    with pytest.raises(AggregationError) as refused:
        aggregate("bulyan", Updates(np.zeros((n, 3), np.float32)), 1)
    assert refused.value.code == "too-few-updates"


def test_a_search_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "MOST_STEPS", 5)
    rows = np.random.default_rng(4).standard_normal((20, 3), dtype=np.float32)
    with pytest.raises(AggregationError) as refused:
        aggregate("mda", Updates(rows), 9)
    assert refused.value.code == "too-large"


@pytest.mark.parametrize("name", EVERY_RULE)
def test_a_negative_f_is_refused(name: str) -> None:
    with pytest.raises(AggregationError) as refused:
        aggregate(name, Updates(np.zeros((3, 3), np.float32)), -1)
    assert refused.value.code == "bad-f"


@pytest.mark.parametrize("name", EVERY_RULE)
@pytest.mark.parametrize("f", [0, 1])
def test_one_update_alone_is_the_aggregate(name: str, f: int) -> None:
    if name == "bulyan":
        alone = Updates(np.array([[1.5, -2.0]], np.float32), seats=[4 * f + 3])
    else:
        alone = Updates(np.array([[1.5, -2.0]], np.float32), seats=[2 * f + 1])
    found = aggregate(name, alone, f)
    assert found.vector.tolist() == [1.5, -2.0]
    assert found.weights.tolist() == [1.0]


@pytest.mark.parametrize("name", EVERY_RULE)
@PROPERTY
@given(data=st.data())
def test_weights_are_shares_of_what_all_seats_count(name: str, data: st.DataObject) -> None:
    """Their mean over all seats is 1; under masks over all that the seats hold and that moves."""
    problem = data.draw(problems(most=8, needs=NEEDS.get(name, (2, 1))))
    found = aggregate(name, problem.updates, problem.f)
    assert (found.weights >= 0).all()
    assert np.isfinite(found.weights).all()
    holding = (problem.held() & problem.moving()).sum(axis=1) * problem.each_seats
    if not found.moved:
        return
    mean = np.average(found.weights, weights=holding)
    if name in COORDINATEWISE or not problem.masks:
        assert mean == pytest.approx(1)
    else:  # where nobody holds a coordinate of those who count, nobody made it
        assert mean <= 1 + 1e-9


@pytest.mark.parametrize("name", sorted(set(EVERY_RULE) - {"mean"}))
def test_an_outvoted_update_counts_for_nothing_or_little(name: str) -> None:
    rows = np.array([[k, k] for k in range(8)] + [[-100, 100]], np.float32)
    weights = aggregate(name, Updates(rows), 1).weights
    limit = 0.2 if name in ("geometric_median", "centred_clipping") else 0
    assert weights[-1] <= limit
    assert weights[:-1].sum() > 8


@settings(max_examples=40)
@given(problem=problems(("a far cluster", "huge rows", "tiny rows", "on a line"), most=16))
def test_no_spectrum_makes_the_covariance_filter_go_on(problem: Problem) -> None:
    """At most n eigenvectors are asked for, and what comes out is finite."""
    asked = 0
    solve = np.linalg.eigh

    def counting(matrix: NDArray[np.float64], *rest: str) -> object:
        nonlocal asked
        asked += 1
        return solve(matrix)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np.linalg, "eigh", counting)
        found = aggregate("caf", problem.updates, problem.f)
    assert asked <= problem.all_seats + 2
    assert np.isfinite(found.vector).all()


@pytest.mark.parametrize("seed", [28, 48, 119, 270, 428])
def test_equal_rows_leave_the_covariance_filter_together(seed: int) -> None:
    """No rounding error lets one of them stay, to be the farthest again in the next step."""
    rng = np.random.default_rng(seed)
    first, second, far = rng.standard_normal((3, int(rng.integers(2, 9)))).astype(np.float32)
    f = int(rng.integers(2, 5))
    counts = [*rng.integers(f + 1, f + 5, 2), f]
    rows = np.repeat(np.array([first, second, 3 * far]), counts, axis=0)
    assert_allowed("caf", Problem(rows, None, None, f), rtol=1e-5)


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


def test_masks_are_never_read_as_values() -> None:
    """What is not held may be anything finite."""
    rng = np.random.default_rng(6)
    rows = rng.standard_normal((9, 30)).astype(np.float32)
    masks = any_masks(rng, 9, 30)
    other = np.where(np.array(masks), rows, np.float32(1e30)).astype(np.float32)
    for name in EVERY_RULE:
        found = [aggregate(name, Updates(told, masks), 1) for told in (rows, other)]
        assert bits(found[0]) == bits(found[1])


def test_bulyan_lets_nobody_in_where_small_devices_hold_nothing() -> None:
    """Four liars are the middle of what all hold, so that they are chosen, and are far out else."""
    rng = np.random.default_rng(2)
    small, large, liars = 12, 6, 4
    rows = rng.standard_normal((small + large + liars, 4)).astype(np.float32)
    rows[-liars:] = [*rows[:-liars, :2].mean(axis=0), 1e4, 1e4]
    all_hold, first_two = np.ones(4, np.bool_), np.array([True, True, False, False])
    masks = [first_two] * small + [all_hold] * (large + liars)
    found = aggregate("bulyan", Updates(rows, masks), liars)
    assert np.abs(found.vector).max() < 10
