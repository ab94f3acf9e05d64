"""Claims that hold for every rule, whatever the updates: symmetry, seats, robustness."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aggregation import RULES, AggregationError, Updates, aggregate
from tests.aggregation.checks import NEEDS, bits
from tests.aggregation.strategies import Attack, Problem, attacks, attacks_on_ranks, problems

EVERY_RULE = sorted(RULES)
COORDINATEWISE = ["mean", "trimmed_mean", "median", "mean_around_median"]
PIPELINES = [[name] for name in EVERY_RULE] + [
    ["arc", "nnm", "trimmed_mean"],
    ["clip:1", "krum"],
    ["bucketing:2", "median"],
    ["nnm", "geometric_median"],
    ["arc", "bucketing:2", "caf"],
]
PROPERTY = settings(max_examples=12)
# Of tied rows a symmetry may put another first. Bulyan ends with few rows that always tie, and
# the least diameter is often that of several sets.
NEVER_TIED = sorted(set(EVERY_RULE) - {"bulyan", "mda"})


def needs(pipeline: list[str]) -> tuple[int, int]:
    return (4, 3) if "bucketing:2" in pipeline else NEEDS.get(pipeline[-1], (2, 1))


@pytest.mark.parametrize("pipeline", PIPELINES, ids=" ".join)
@PROPERTY
@given(data=st.data())
def test_the_same_updates_in_any_order_give_the_same_bits(
    pipeline: list[str], data: st.DataObject
) -> None:
    problem = data.draw(problems(needs=needs(pipeline), all_seats=14))
    order = data.draw(st.permutations(range(len(problem.rows))))
    found = aggregate(pipeline, problem.updates, problem.f, seed=1)
    again = aggregate(pipeline, problem.updates, problem.f, seed=1)
    shuffled = aggregate(pipeline, problem.reordered(order).updates, problem.f, seed=1)
    assert bits(found) == bits(again) == bits(shuffled)
    # Of equal rows either may be the one that was taken.
    assert sorted(found.weights) == pytest.approx(sorted(shuffled.weights))


@pytest.mark.parametrize("pipeline", PIPELINES, ids=" ".join)
@PROPERTY
@given(data=st.data())
def test_every_outcome_is_finite(pipeline: list[str], data: st.DataObject) -> None:
    problem = data.draw(problems(needs=needs(pipeline), all_seats=14))
    factor = data.draw(st.sampled_from([1, 3e8, 1e-8]))
    largest = np.finfo(np.float32).max
    rows = np.clip(problem.rows.astype(np.float64) * factor, -largest, largest)
    problem = replace(problem, rows=rows.astype(np.float32))
    found = aggregate(pipeline, problem.updates, problem.f)
    for values in (found.vector, found.weights, found.clipped):
        assert np.isfinite(values).all()
    assert found.vector.dtype == np.float32


@pytest.mark.parametrize("name", EVERY_RULE)
@PROPERTY
@given(data=st.data())
def test_seats_are_so_many_equal_rows(name: str, data: st.DataObject) -> None:
    """Small integers are exact, so it also holds where rows tie: seats put nobody first."""
    drawn = problems(
        ["tied"], needs=NEEDS.get(name, (2, 1)), most=6, all_seats=14, seated=True, masked=False
    )
    problem = data.draw(drawn)
    found = aggregate(name, problem.updates, problem.f)
    told = aggregate(name, problem.written_out().updates, problem.f)
    np.testing.assert_allclose(found.vector, told.vector, rtol=1e-5, atol=1e-5)
    assert found.moved == told.moved


@pytest.mark.parametrize("name", EVERY_RULE)
@PROPERTY
@given(data=st.data())
def test_what_is_not_held_changes_no_bit(name: str, data: st.DataObject) -> None:
    problem = data.draw(problems(needs=NEEDS.get(name, (2, 1)), all_seats=14, masked=True))
    other = np.where(problem.held(), problem.rows, np.float32(7e30))
    found = aggregate(name, problem.updates, problem.f)
    assert bits(aggregate(name, replace(problem, rows=other).updates, problem.f)) == bits(found)


@pytest.mark.parametrize("name", EVERY_RULE)
@PROPERTY
@given(data=st.data())
def test_masks_that_hold_everything_change_no_bit(name: str, data: st.DataObject) -> None:
    problem = data.draw(problems(needs=NEEDS.get(name, (2, 1)), all_seats=14, masked=False))
    full = np.ones(problem.rows.shape[1], np.bool_)
    masked = replace(problem, masks=[full] * len(problem.rows))
    found = aggregate(name, problem.updates, problem.f)
    assert bits(aggregate(name, masked.updates, problem.f)) == bits(found)


def untied(data: st.DataObject) -> Problem:
    """Rows of which no two have one score: with two neighbours or more, and held alike."""
    return data.draw(problems(["scattered"], needs=(2, 5), masked=False, seated=False))


def assert_close(
    name: str, found: NDArray[Any], expected: NDArray[Any], size: float | None = None
) -> None:
    """Within what rounding values of that size can change; by default, of the outcome's."""
    size = float(np.abs(expected).max()) if size is None else size
    rough = name in ("caf", "centred_clipping", "geometric_median")
    np.testing.assert_allclose(found, expected, rtol=0, atol=(1e-3 if rough else 1e-5) * size)


@pytest.mark.parametrize("name", NEVER_TIED)
@PROPERTY
@given(data=st.data())
def test_a_common_displacement_displaces_the_outcome(name: str, data: st.DataObject) -> None:
    problem = untied(data)
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    by = np.abs(problem.rows).max() * rng.standard_normal(problem.rows.shape[1])
    moved = (problem.rows + by).astype(np.float32)
    found = aggregate(name, Updates(problem.rows), problem.f).vector
    displaced = aggregate(name, Updates(moved), problem.f).vector
    # Adding the displacement rounded every row, however small the outcome is.
    assert_close(name, displaced - by, found, size=float(np.abs(moved).max()))


@pytest.mark.parametrize("name", NEVER_TIED)
@PROPERTY
@given(data=st.data(), exponent=st.integers(-40, 40))
def test_a_common_factor_scales_the_outcome(name: str, data: st.DataObject, exponent: int) -> None:
    """By powers of two: every product is exact, so every comparison comes out the same."""
    problem = untied(data)
    factor = np.float32(2.0**exponent)
    found = aggregate(name, Updates(problem.rows), problem.f)
    scaled = aggregate(name, Updates(problem.rows * factor), problem.f)
    assert_close(name, scaled.vector / factor, found.vector)


@pytest.mark.parametrize("name", NEVER_TIED)
@PROPERTY
@given(data=st.data())
def test_coordinates_in_another_order_give_the_outcome_in_it(
    name: str, data: st.DataObject
) -> None:
    problem = untied(data)
    order = data.draw(st.permutations(range(problem.rows.shape[1])))
    found = aggregate(name, Updates(problem.rows), problem.f).vector
    turned = np.ascontiguousarray(problem.rows[:, order])
    other = aggregate(name, Updates(turned), problem.f).vector
    assert_close(name, other, found[order])


@pytest.mark.parametrize("name", EVERY_RULE)
def test_what_all_say_is_the_outcome(name: str) -> None:
    row = np.array([1.5, -2e20, 3e-20, 0], np.float32)
    found = aggregate(name, Updates(np.tile(row, (7, 1))), 1)
    np.testing.assert_allclose(found.vector, row, rtol=1e-6)


@pytest.mark.parametrize("name", ["trimmed_mean", "median", "mean_around_median"])
@settings(max_examples=40)
@given(attack=attacks(spare=1))
def test_liars_leave_each_coordinate_within_the_honest_range(name: str, attack: Attack) -> None:
    found = aggregate(name, attack.problem.updates, attack.problem.f).vector
    honest = attack.problem.rows[attack.honest]
    if name == "mean_around_median":  # as near to the median as the honest are, on either side
        reach = honest.max(axis=0) - honest.min(axis=0)
    else:
        reach = np.zeros(honest.shape[1], np.float32)
    slack = 1e-6 * np.abs(honest).max()
    assert (found >= honest.min(axis=0) - reach - slack).all()
    assert (found <= honest.max(axis=0) + reach + slack).all()


@settings(max_examples=40)
@given(attack=attacks(quarters=True))
def test_liars_leave_bulyan_within_the_honest_range(attack: Attack) -> None:
    found = aggregate("bulyan", attack.problem.updates, attack.problem.f).vector
    honest = attack.problem.rows[attack.honest]
    slack = 1e-6 * np.abs(honest).max()
    assert (found >= honest.min(axis=0) - slack).all()
    assert (found <= honest.max(axis=0) + slack).all()


@settings(max_examples=40)
@given(attack=attacks())
def test_krum_is_an_honest_row(attack: Attack) -> None:
    found = aggregate("krum", attack.problem.updates, attack.problem.f).vector
    assert any((found == row).all() for row in attack.problem.rows[attack.honest])


@pytest.mark.parametrize("name", ["multi_krum", "mda"])
@settings(max_examples=40)
@given(attack=attacks())
def test_far_liars_are_not_selected(name: str, attack: Attack) -> None:
    weights = aggregate(name, attack.problem.updates, attack.problem.f).weights
    assert (weights[~attack.honest] == 0).all()
    assert (weights[attack.honest] > 0).all()


@pytest.mark.parametrize("name", ["geometric_median", "centred_clipping", "caf"])
@settings(max_examples=40)
@given(attack=attacks(quarters=True))
def test_far_liars_move_a_centre_by_a_few_honest_diameters(name: str, attack: Attack) -> None:
    found = aggregate(name, attack.problem.updates, attack.problem.f).vector
    rounding = 1e-5 * float(np.abs(attack.problem.rows[attack.honest]).max())
    assert attack.reach(found) <= 5 * attack.diameter() + rounding


@pytest.mark.parametrize(
    "rule", ["trimmed_mean", "median", "krum", "geometric_median", "caf", "bulyan"]
)
@pytest.mark.parametrize("steps", [["nnm"], ["arc", "nnm"]], ids=" ".join)
@settings(max_examples=15)
@given(attack=attacks(quarters=True))
def test_steps_before_a_rule_let_far_liars_in_no_farther(
    steps: list[str], rule: str, attack: Attack
) -> None:
    """Adaptive clipping may leave a liar as long as the longest honest row: that far, not more."""
    found = aggregate([*steps, rule], attack.problem.updates, attack.problem.f).vector
    longest = float(np.linalg.norm(attack.problem.rows[attack.honest], axis=1).max())
    assert attack.reach(found) <= 5 * attack.diameter() + 2 * longest * ("arc" in steps) + 1e-5


@pytest.mark.parametrize("rule", sorted(set(EVERY_RULE) - {"mean"}))
@pytest.mark.parametrize("steps", [[], ["nnm"]], ids=["alone", "nnm"])
@settings(max_examples=15)
@given(attack=attacks_on_ranks())
def test_liars_who_agree_where_small_devices_look_are_not_let_in_elsewhere(
    steps: list[str], rule: str, attack: Attack
) -> None:
    """Small devices see nothing wrong with a row that is far out only where they hold nothing."""
    found = aggregate([*steps, rule], attack.problem.updates, attack.problem.f).vector
    honest = np.where(attack.problem.held(), attack.problem.rows, 0)[attack.honest]
    assert np.abs(found).max() <= 10 * np.abs(honest).max()


@settings(max_examples=25)
@given(attack=attacks())
def test_a_heavy_liar_is_counted_by_its_seats(attack: Attack) -> None:
    """One liar with f seats is f liars."""
    f = attack.problem.f
    honest = attack.problem.rows[attack.honest]
    rows = np.vstack([honest, attack.problem.rows[~attack.honest][:1]])
    updates = Updates(rows, seats=[1] * len(honest) + [f])
    for name in ("trimmed_mean", "median"):
        found = aggregate(name, updates, f).vector
        slack = 1e-6 * np.abs(honest).max()
        assert (found >= honest.min(axis=0) - slack).all()
        assert (found <= honest.max(axis=0) + slack).all()
    assert aggregate("mda", updates, f).weights[-1] == 0


@pytest.mark.parametrize("pipeline", PIPELINES, ids=" ".join)
def test_files_give_the_bits_of_memory(pipeline: list[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    rows = rng.standard_normal((11, 70_001), dtype=np.float32)
    half = np.arange(70_001) < 30_000
    masks = [half, np.ones_like(half)] * 5 + [half]
    mapped = []
    for number, row in enumerate(rows):
        row.tofile(tmp_path / str(number))
        mapped.append(np.memmap(tmp_path / str(number), np.float32, "r"))
    found = aggregate(pipeline, Updates(mapped, masks), 1)
    assert bits(found) == bits(aggregate(pipeline, Updates(rows, masks), 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_file_that_is_not_finite_is_refused(bad: float, tmp_path: Path) -> None:
    row = np.zeros(70_001, np.float32)
    row[-1] = bad
    row.tofile(tmp_path / "row")
    mapped = np.memmap(tmp_path / "row", np.float32, "r")
    with pytest.raises(AggregationError) as refused:
        Updates([np.zeros(70_001, np.float32), mapped])
    assert refused.value.code == "not-finite"


@pytest.mark.parametrize("pipeline", PIPELINES, ids=" ".join)
def test_the_updates_are_not_written_to(pipeline: list[str]) -> None:
    rows = np.random.default_rng(12).standard_normal((11, 50), dtype=np.float32)
    before = rows.copy()
    rows.flags.writeable = False
    aggregate(pipeline, Updates(rows), 1)
    np.testing.assert_array_equal(rows, before)
