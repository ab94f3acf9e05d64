"""Claims about the e-value: what it may be when nothing is gained, and how it answers to gains."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregation.gate.evidence import MOST, SPREAD, Array, log10_e

BOUND = 0.25
TESTS = 4000


def no_gain(kind: str, k: int) -> Array:
    """(TESTS, k) gains with mean 0 and a standard deviation of 0.08."""
    rng = np.random.default_rng(7)
    match kind:
        case "normal":
            draws = rng.standard_normal((TESTS, k))
        case "heavy tails":
            draws = rng.standard_t(3, (TESTS, k)) / math.sqrt(3)
        case _:
            draws = 1 - rng.exponential(size=(TESTS, k))
    return 0.08 * draws


@pytest.mark.parametrize("kind", ["normal", "heavy tails", "skewed to loss"])
@pytest.mark.parametrize("k", [8, 64, 256])
def test_without_a_gain_the_e_value_is_one_on_average(kind: str, k: int) -> None:
    e = 10 ** log10_e(no_gain(kind, k), BOUND)
    assert e.mean() <= 1.15 + 3 * e.std() / math.sqrt(TESTS)
    assert (e >= 20).mean() <= 0.02  # Ville allows 0.05
    assert (e >= 200).mean() <= 0.002


def test_the_e_value_is_exactly_fair_when_no_gain_lies_below_the_bound() -> None:
    """All outcomes of three probes that gain or lose 0.05: the mean of their e-values is 1."""
    signs = np.array([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    e = 10 ** log10_e(0.05 * signs.astype(np.float64), BOUND)
    assert e.mean() == pytest.approx(1)


def test_a_small_loss_on_average_is_not_called_a_gain() -> None:
    e = 10 ** log10_e(no_gain("normal", 256) - 0.01, BOUND)
    assert e.mean() < 0.5


def test_correlated_probes_seldom_pass_with_the_allowance_and_often_without() -> None:
    rng = np.random.default_rng(3)
    shared = np.repeat(rng.standard_normal((TESTS, 64)), 4, axis=1)
    gains = 0.1 * (math.sqrt(0.5) * rng.standard_normal((TESTS, 256)) + math.sqrt(0.5) * shared)
    allowed, plain = log10_e(gains, BOUND, 0.002), log10_e(gains, BOUND)
    level = math.log10(54)  # of a node's first gate, 1 in 54
    assert (allowed >= level).mean() < 1 / 54 < (plain >= level).mean()


SMALL = st.lists(st.floats(-0.04, 0.04), min_size=2, max_size=40).map(np.array)
"""Gains so close together that the bound does not depend on them."""


@given(SMALL, st.floats(0, 0.03), st.integers(0, 39))
def test_more_gain_on_a_probe_is_never_less_evidence(gains: Array, more: float, at: int) -> None:
    better = gains.copy()
    better[at % gains.size] += more
    assert log10_e(better, BOUND) >= log10_e(gains, BOUND) - 1e-9


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=40).map(np.array),
    st.randoms(use_true_random=False),
)
def test_the_order_of_probes_changes_nothing(gains: Array, random: object) -> None:
    order = np.random.default_rng(hash(random) % 2**32).permutation(gains.size)
    assert log10_e(gains[order], BOUND) == pytest.approx(log10_e(gains, BOUND), abs=1e-6)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=40).map(np.array))
def test_evidence_above_one_needs_a_mean_above_zero(gains: Array) -> None:
    if gains.mean() <= 0:
        assert log10_e(gains, BOUND) <= 1e-9


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40).map(np.array))
def test_any_finite_gains_give_a_finite_figure(gains: Array) -> None:
    assert abs(log10_e(gains, BOUND)) <= MOST


@given(SMALL)
def test_without_any_difference_the_e_value_is_one(gains: Array) -> None:
    assert log10_e(0 * gains, BOUND) == pytest.approx(0)


def test_a_wider_spread_is_bet_on_with_smaller_stakes() -> None:
    """Where the bound follows the gains, their unit does not matter."""
    gains = np.random.default_rng(5).normal(0.3, 0.5, 64)
    assert gains.std() * SPREAD > BOUND
    assert log10_e(100 * gains, BOUND) == pytest.approx(log10_e(gains, BOUND))


def test_neither_one_probe_nor_two_alike_are_evidence_enough() -> None:
    for gains in ([3.0], [3.0, 3.0], [100.0, 100.0]):
        assert 10 ** log10_e(np.array(gains), BOUND) < 20


def test_sources_of_different_sizes_count_alike() -> None:
    """One large source that gains must not outweigh a small one that loses as much."""
    gains = np.r_[np.full(90, 0.02), np.full(10, -0.03)]
    weights = np.r_[np.full(90, 50 / 90), np.full(10, 5.0)]
    assert log10_e(gains, BOUND) > 0.5
    assert log10_e(gains, BOUND, weights=weights) < 0
