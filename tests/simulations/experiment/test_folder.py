"""A run's folder: whole files under their last names, nothing deleted, one run at a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nodes.errors import NodeError
from simulations.experiment.folder import opened
from simulations.records import NoteRecord
from tests.simulations.runner.cells import (
    SMALL,
    contents,
    failing,
    loss,
    numbers,
    small,
    start,
)


def test_a_finished_cell_is_its_description_and_then_its_records(tmp_path: Path) -> None:
    experiment = small()
    start(experiment, tmp_path, numbers)
    cell = experiment.cells[0]
    lines = (tmp_path / "cells" / f"{cell.id}.jsonl").read_text("utf-8").splitlines()
    first, *records = map(json.loads, lines)
    assert next(iter(first)) == "kind"
    assert first["kind"] == "cell"
    assert (first["id"], first["name"], first["vary"]) == (cell.id, cell.name, cell.vary)
    assert first["settings"] == cell.settings.model_dump(mode="json")
    assert set(first["versions"]) == {"banyan", "flwr", "torch", "numpy", "python"}
    assert [record["kind"] for record in records] == ["loss"] * 4 + ["done"]


def test_the_folder_says_what_was_asked_and_with_which_versions(tmp_path: Path) -> None:
    experiment = small(quick=True, rounds__f=1)
    start(experiment, tmp_path, numbers)
    assert (tmp_path / "experiment.toml").read_text("utf-8") == SMALL
    resolved = json.loads((tmp_path / "experiment.json").read_text("utf-8"))
    assert resolved["name"] == "small"
    assert resolved["question"] == "What is small? And a second sentence."
    assert resolved["compare"] == ["attack.name", "case"]
    assert resolved["quick"] is True
    assert resolved["set"] == {"rounds.f": 1}
    assert resolved["versions"]["python"]
    assert [cell["id"] for cell in resolved["cells"]] == [cell.id for cell in experiment.cells]


def test_records_are_on_disk_as_they_are_made(tmp_path: Path) -> None:
    (cell, *_) = small().cells
    with opened(tmp_path, small()) as (folder, _), folder.writing(cell) as record:
        record(NoteRecord(at_s=1, what="crash", text="half-way"))
        part = tmp_path / "cells" / f"{cell.id}.part.jsonl"
        assert json.loads(part.read_text("utf-8").splitlines()[-1])["text"] == "half-way"
        assert not folder.is_done(cell)
    assert folder.is_done(cell)
    assert not part.exists()


def test_what_is_not_a_number_is_written_as_null(tmp_path: Path) -> None:
    (cell, *_) = small().cells
    with opened(tmp_path, small()) as (folder, _), folder.writing(cell) as record:
        record(loss(1, float("nan")))
        record(loss(2, float("-inf")))
        record(loss(3, 0.5))
    _, *lines = (tmp_path / "cells" / f"{cell.id}.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [None, None, 0.5]


def test_a_changed_experiment_keeps_its_cells_and_sets_the_others_aside(tmp_path: Path) -> None:
    start(small(), tmp_path, numbers)
    before = contents(tmp_path / "cells")
    outcome = start(small(attack__name="none"), tmp_path, numbers)
    assert (outcome.taken_over.done, outcome.taken_over.aside, outcome.ran) == (4, 4, 0)
    now = contents(tmp_path / "cells")
    assert now.keys() < before.keys()
    assert contents(tmp_path / "aside") | now == before


def test_cells_that_the_experiment_has_again_come_back(tmp_path: Path) -> None:
    start(small(), tmp_path, numbers)
    before = contents(tmp_path / "cells")
    start(small(attack__name="none"), tmp_path, numbers)
    outcome = start(small(), tmp_path, failing)
    assert (outcome.taken_over.done, outcome.taken_over.back, outcome.ran) == (8, 4, 0)
    assert contents(tmp_path / "cells") == before
    assert contents(tmp_path / "aside") == {}


def test_more_seeds_run_only_what_is_new(tmp_path: Path) -> None:
    start(small(), tmp_path, numbers)
    outcome = start(small(run__seeds=[0, 1, 2]), tmp_path, numbers)
    assert (outcome.taken_over.done, outcome.ran, outcome.done, outcome.cells) == (8, 4, 12, 12)


def test_cells_of_other_versions_are_kept_and_said_to_be(tmp_path: Path) -> None:
    start(small(), tmp_path, numbers)
    file = tmp_path / "experiment.json"
    resolved = json.loads(file.read_text("utf-8"))
    now = resolved["versions"]["torch"]
    resolved["versions"]["torch"] = "0.4"
    file.write_text(json.dumps(resolved), "utf-8")
    outcome = start(small(), tmp_path, numbers)
    assert outcome.taken_over.older == {"torch": ("0.4", now)}
    assert start(small(), tmp_path, numbers).taken_over.older == {}


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(NodeError) as caught:
        start(small(), tmp_path, numbers)
    assert caught.value.code == "not-an-experiment"
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with opened(tmp_path, small()):
        with pytest.raises(NodeError) as caught:
            start(small(), tmp_path, numbers)
        assert caught.value.code == "run-busy"
    start(small(), tmp_path, numbers)
