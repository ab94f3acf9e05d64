"""Claims about the measures of forgetting, and about the bench on a tiny base."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from simulations.bench.forgetting import tables
from simulations.forgetting import LossMatrix


def matrix(*rows: tuple[float, ...]) -> LossMatrix:
    return LossMatrix(tuple("abcdef"[: len(rows)]), np.array(rows, float))


def test_what_rose_since_its_best_is_forgotten() -> None:
    of = matrix((3, 9, 9), (2, 4, 9), (3, 4.5, 5))
    assert of.forgetting == pytest.approx((1.0 + 0.5) / 2)
    assert of.backward_transfer == pytest.approx((0.0 - 0.5) / 2)
    assert of.average == pytest.approx((3 + 4.5 + 5) / 3)


def test_what_a_source_was_before_it_was_learned_does_not_count() -> None:
    of = matrix((3, 1), (2.5, 4))
    assert of.forgetting == 0
    assert of.backward_transfer == 0.5


def test_the_first_sources_alone_are_as_if_learning_had_ended_there() -> None:
    of = matrix((3, 9, 9), (4, 4, 9), (9, 9, 5)).first(2)
    assert of.sources == ("a", "b")
    assert of.forgetting == 1
    assert of.average == 4


def test_one_source_forgets_nothing() -> None:
    of = matrix((3,))
    assert (of.forgetting, of.backward_transfer, of.average) == (0, 0, 3)


@pytest.mark.parametrize("losses", [np.ones((2, 3)), np.full((1, 1), np.nan), np.ones((0, 0))])
def test_what_is_no_matrix_is_refused(
    losses: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> None:
    with pytest.raises(ValueError, match=r"need|finite"):
        LossMatrix(tuple("ab"[: losses.shape[0]]), losses)


@pytest.mark.slow
def test_the_bench_goes_on_where_it_stopped(tmp_path: Path) -> None:
    arguments = ["bench", "forgetting", "--quick", "--json", "--out", str(tmp_path)]
    arguments += ["--only", "replay 25 %", "--only", "full"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    result = json.loads(first.stdout)
    kept = sorted(tmp_path.rglob("train-*.safetensors"))
    kept[0].unlink()
    again = CliRunner().invoke(app, arguments)
    assert json.loads(again.stdout) == result
    assert again.stderr.count("train") == 1  # only what was lost was trained again
    for of in (*result["device"].values(), *result["children"].values()):
        losses = np.array(of["matrix"])
        assert losses[0, 0] < result["base"]["nervous"] - 0.1  # something was learned
    assert result["device"]["replay 25 %"]["tokens"][-1] <= 1.05 * sum(result["tokens_alone"])
    *_, unseen = tables(result)
    assert list(unseen.columns[0].cells)[-1] == "children in turn: full"


def test_an_unknown_learner_is_one_sentence(tmp_path: Path) -> None:
    arguments = ["bench", "forgetting", "--quick", "--out", str(tmp_path), "--only", "nobody"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "no-learner" in result.output
