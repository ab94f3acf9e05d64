"""Running cells: here or in processes, all or some, and what happens to those that fail."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from simulations.runner import RunCell
from tests.simulations.runner.cells import contents, dying, failing, numbers, small, start


def test_every_cell_runs_once(tmp_path: Path) -> None:
    outcome = start(small(), tmp_path, numbers)
    assert (outcome.cells, outcome.done, outcome.ran, outcome.failures) == (8, 8, 8, ())
    again = start(small(), tmp_path, failing)
    assert (again.done, again.ran, again.failures) == (8, 0, ())


def test_processes_give_the_same_files_as_one_after_another(tmp_path: Path) -> None:
    start(small(), tmp_path / "here", numbers)
    outcome = start(small(), tmp_path / "processes", numbers, workers=2)
    assert (outcome.done, outcome.ran, outcome.failures) == (8, 8, ())
    assert contents(tmp_path / "processes") == contents(tmp_path / "here")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_cell_that_fails_is_recorded_and_the_others_go_on(tmp_path: Path, workers: int) -> None:
    outcome = start(small(), tmp_path, failing, workers=workers)
    assert (outcome.done, outcome.ran) == (4, 4)
    assert {f.name for f in outcome.failures} == {c.name for c in small().cells if c.seed}
    (first, *_) = outcome.failures
    told = json.loads((tmp_path / "cells" / f"{first.id}.failed.json").read_text("utf-8"))
    assert told["code"] == "crashed"
    assert told["sentence"] == "ArithmeticError: the tree fell over"
    assert "in failing" in told["trace"]
    assert (tmp_path / "cells" / f"{first.id}.part.jsonl").exists()


def test_a_cell_that_failed_is_tried_again_and_then_is_as_any_other(tmp_path: Path) -> None:
    start(small(), tmp_path / "again", failing)
    outcome = start(small(), tmp_path / "again", numbers)
    assert (outcome.taken_over.done, outcome.ran, outcome.failures) == (4, 4, ())
    start(small(), tmp_path / "once", numbers)
    assert contents(tmp_path / "again") == contents(tmp_path / "once")


def test_a_process_that_is_killed_fails_its_cell_alone(tmp_path: Path) -> None:
    outcome = start(small(), tmp_path, dying, workers=2)
    assert outcome.done == 4
    assert {failure.code for failure in outcome.failures} == {"worker-died"}
    assert {failure.name for failure in outcome.failures} == {
        c.name for c in small().cells if c.seed
    }
    assert "status -9" in outcome.failures[0].sentence


def test_only_cells_whose_name_contains_a_text_run(tmp_path: Path) -> None:
    outcome = start(small(), tmp_path, numbers, only="flat, attack.name=none")
    assert (outcome.cells, outcome.done, outcome.ran) == (8, 2, 2)
    assert outcome.taken_over.aside == 0
    rest = start(small(), tmp_path, numbers)
    assert (rest.taken_over.done, rest.ran, rest.taken_over.aside) == (2, 6, 0)


@pytest.mark.parametrize("run_cell", [numbers, failing])
def test_without_a_terminal_every_cell_has_a_line(tmp_path: Path, run_cell: RunCell) -> None:
    said = io.StringIO()
    start(small(), tmp_path, run_cell, console=Console(file=said, width=60))
    lines = said.getvalue().splitlines()
    assert len(lines) == 8
    assert "cell 8 of 8 flat, attack.name=sign_flip, seed=1:" in lines[-1]
    assert ("ArithmeticError" in lines[-1]) == (run_cell is failing)
