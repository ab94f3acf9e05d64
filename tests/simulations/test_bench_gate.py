"""A small sample of what ``banyan bench gate`` measures: it fails if the control is broken."""

from __future__ import annotations

import numpy as np
import pytest

from aggregation.gate import GatePolicy, Reuse
from simulations.bench.gate import SHAPES, false_promotions, power
from simulations.bench.gate_adaptive import UNLIMITED, Bit, attack

HISTORIES = 20


@pytest.mark.parametrize("shape", ["normal", "rare losses", "documents"])
def test_few_promotions_are_false_at_any_share_of_true_gains(shape: str) -> None:
    rows = false_promotions(shape, HISTORIES, np.random.default_rng(1))
    ours = [row for row in rows if row.rule == "this gate"]
    naive = [row for row in rows if row.rule == "mean not worse"]
    assert all(row.rate <= 0.1 for row in ours)  # one of twenty histories may have bad luck
    assert all(row.rate > 0.02 for row in naive)
    found = [row.found for row in ours if row.found is not None]
    assert min(found) > 0.2
    if shape == "normal":
        assert min(found) > 0.9


def test_every_shape_gains_nothing_on_average() -> None:
    for name, shape in SHAPES.items():
        draws = shape(np.random.default_rng(2), (2000, 256))
        # A few standard errors; disasters are rare, so theirs is large.
        assert abs(draws.mean()) < 6 * draws.std() / np.sqrt(draws.size), name


def test_a_true_gain_passes_at_any_age_of_the_node() -> None:
    rows = power(200, np.random.default_rng(3))
    at = {
        row.gate: row.passed
        for row in rows
        if (row.rule, row.probes, row.gain, row.sd) == ("this gate", 256, 0.05, 0.1)
        and row.promotions == 0
    }
    assert all(at[gate] >= 0.8 for gate in (1, 20, 100))


@pytest.mark.slow
def test_bits_about_a_fixed_set_let_a_candidate_through_and_verdicts_of_fresh_ones_do_not() -> None:
    rng, policy = np.random.default_rng(4), GatePolicy(reuse=Reuse.NEVER)
    fixed = attack("one set", policy.size, UNLIMITED, Bit.TELLING, 10, rng)
    assert fixed.gate == 1.0 and fixed.seen is not None and fixed.seen > 5
    for bit in (Bit.VERDICT, Bit.TELLING):
        retiring = attack("retiring", 8192, policy, bit, 10, rng)
        assert retiring.gate == 0.0 and retiring.fixed_level == 0.0
        assert retiring.seen is not None and abs(retiring.seen) < 1.5


def test_the_gate_stops_when_its_probes_are_used_up() -> None:
    policy = GatePolicy(reuse=Reuse.NEVER)
    small = attack("retiring", 512, policy, Bit.TELLING, 3, np.random.default_rng(5))
    assert small.gate is None and 16 <= small.bits < 20
