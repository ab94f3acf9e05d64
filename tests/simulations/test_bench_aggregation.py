"""Claims about the comparison with libraries."""

from __future__ import annotations

import numpy as np
import pytest
from rich.table import Table

from aggregation import Updates, aggregate
from simulations import libraries
from simulations.bench import aggregation as race

ROWS = np.random.default_rng(0).standard_normal((11, 400), dtype=np.float32)
F = 2


@pytest.mark.parametrize("rule", ["mean", "trimmed_mean", "median", "krum", "multi_krum"])
def test_flower_and_we_mean_the_same_rule(rule: str) -> None:
    theirs = libraries.flower()[rule](ROWS, F)()
    ours = aggregate(rule, Updates(ROWS), F).vector
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tensors", [True, False])
@pytest.mark.parametrize(
    "pipeline", ["trimmed_mean", "mean_around_median", "mda", "nnm trimmed_mean"]
)
def test_byzfl_and_we_mean_the_same_pipeline(pipeline: str, tensors: bool) -> None:
    found = libraries.byzfl(tensors)
    if not found:
        pytest.skip("byzfl is not installed")
    theirs = found[pipeline](ROWS, F)()
    ours = aggregate(pipeline.split(), Updates(ROWS), F).vector
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_the_comparison_times_every_contestant_and_measures_memory() -> None:
    result = race.run(20_000, repeats=1, only=("median", "nnm krum"), sizes=((7, 1),))
    timed = {(t["pipeline"], t["contestant"]) for t in result["timings"] if t["seconds"]}
    assert {("median", "ours"), ("median", "Flower"), ("nnm krum", "one pass")} <= timed
    assert all(m["ratio"] > 0 for m in result["memory"])
    shown, *_ = race.tables(result)
    assert isinstance(shown, Table)
    assert list(shown.columns[0].cells) == ["median", "nnm krum"]


def test_what_would_take_the_machine_down_is_not_asked() -> None:
    assert race._too_much("ByzFL, torch", "mda", 100, 15, 10)
    assert race._too_much("ByzFL, numpy", "nnm median", 10_000, 1, 1_000_000)
    assert not race._too_much("ours", "mda", 100, 15, 10)
