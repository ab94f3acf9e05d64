"""``banyan sim``: what a person types and what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nodes.cli.app import app
from simulations.experiment import bundled, load_experiment
from simulations.runner import RunCell
from tests.simulations.runner.cells import SMALL, failing, numbers, waiting
from tests.simulations.runner.test_interruption import Interrupted


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """SMALL as a file in an otherwise empty current folder, with reports that are a page each."""

    def write_report(folder: Path) -> None:
        (folder / "report.html").write_text("<p>")

    monkeypatch.setattr("simulations.runner.cli.write_report", write_report)
    monkeypatch.chdir(tmp_path)
    simulate(monkeypatch, numbers)
    path = tmp_path / "small.toml"
    path.write_text(SMALL, "utf-8")
    return path


def simulate(monkeypatch: pytest.MonkeyPatch, run_cell: RunCell) -> None:
    monkeypatch.setattr("simulations.world.run_cell", run_cell)


def sim(*words: object) -> Result:
    return CliRunner().invoke(app, ["sim", *map(str, words)], env={"COLUMNS": "200"})


def as_json(*words: object) -> Any:
    result = sim(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_a_run_ends_with_a_report_in_the_experiments_own_folder(file: Path) -> None:
    result = sim("run", file, "--workers", 1)
    assert result.exit_code == 0, result.output
    assert "8 of 8 cells are done." in result.stdout
    assert "The report is runs/sim/small/report.html" in result.stdout
    assert (file.parent / "runs/sim/small/report.html").exists()


def test_the_small_version_has_a_folder_of_its_own(file: Path) -> None:
    told = as_json("run", file, "--workers", 1, "--quick")
    assert told == {
        "name": "small",
        "folder": "runs/sim/small-quick",
        "report": "runs/sim/small-quick/report.html",
        "cells": 8,
        "done": 8,
        "ran": 8,
        "set_aside": 0,
        "failed": [],
    }


def test_a_run_goes_on_and_says_what_was_done_before(file: Path) -> None:
    assert as_json("run", file, "--workers", 1, "--only", "flat")["ran"] == 4
    result = sim("run", file, "--workers", 1)
    assert "4 cells were done before." in result.stdout
    assert as_json("run", file, "--workers", 1, "--seeds", 1)["set_aside"] == 4


def test_a_failed_cell_makes_the_exit_status_1_and_the_others_are_reported(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, failing)
    result = sim("run", file, "--workers", 1, "--json", "--out", "out")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["done"], told["report"]) == (4, "out/report.html")
    assert {failed["code"] for failed in told["failed"]} == {"crashed"}
    assert "4 failed; why is in out/cells/*.failed.json." in result.stderr


def test_nothing_is_reported_when_no_cell_is_done(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, failing)
    result = sim("run", file, "--workers", 1, "--set", "run.seeds=[1]", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["report"] is None


def test_an_interrupt_says_how_to_go_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(monkeypatch, Interrupted(after=7))
    result = sim("run", file, "--workers", 1)
    assert result.exit_code == 130
    assert "The same command goes on; done cells are in runs/sim/small." in result.stderr


def test_a_dry_run_lists_the_cells_and_touches_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate(monkeypatch, waiting)
    result = sim("run", file, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "tree, attack.name=none, seed=0" in result.stdout
    assert "8 cells, 0 done, in runs/sim/small" in result.stdout
    told = as_json("run", file, "--dry-run", "--only", "tree")
    assert [cell["name"] for cell in told] == [
        cell.name for cell in load_experiment(str(file)).cells[:4]
    ]
    assert not (file.parent / "runs").exists()


def test_a_dry_run_says_what_is_done(file: Path) -> None:
    sim("run", file, "--workers", 1, "--only", "flat")
    told = as_json("run", file, "--dry-run")
    assert {cell["name"] for cell in told if cell["done"]} == {
        cell["name"] for cell in told if "flat" in cell["name"]
    }


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("attack.name=alie", "attack.name", "alie"),
        ('attack.name="alie"', "attack.name", "alie"),
        ("strategy.name=flower:Krum", "strategy.name", "flower:Krum"),
        ("rounds.f = 2", "rounds.f", 2),
        ("rounds.stand_ins=false", "rounds.stand_ins", False),
        ('rounds.pipeline=["arc", "median"]', "rounds.pipeline", ["arc", "median"]),
        ("data.alpha=0.5", "data.alpha", 0.5),
    ],
)
def test_a_setting_is_set_as_in_the_file(file: Path, text: str, path: str, value: object) -> None:
    told = as_json("run", file, "--dry-run", "--set", text)
    section, name = path.split(".")
    assert {json.dumps(cell["settings"][section][name]) for cell in told} == {json.dumps(value)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "rounds.f"], "usage: --set takes PATH=VALUE"),
        (["--set", "rounds.f=[1"], "usage: --set takes PATH=VALUE"),
        (["--set", "rounds.f=1\nrounds.g=2"], "usage: --set takes PATH=VALUE"),
        (["--set", "rounds.f=-1"], "rounds.f: Input should be greater than or equal to 0."),
        (["--set", "round.f=1"], "round: Extra inputs are not permitted."),
        (["--only", "blue"], "no-cells: No cell's name contains 'blue'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(
    file: Path, words: list[str], said: str
) -> None:
    result = sim("run", file, *words)
    assert result.exit_code == 1
    assert said in result.stderr
    assert not (file.parent / "runs").exists()


def test_the_list_has_every_bundled_experiment_with_its_question(file: Path) -> None:
    told = as_json("list")
    assert [one["name"] for one in told] == list(bundled())
    result = sim("list")
    assert result.exit_code == 0
    assert "Does a tree fall to fewer colluders" in result.stdout
    assert "Sixteen of a hundred" not in result.stdout


def test_a_report_is_written_again(file: Path) -> None:
    sim("run", file, "--workers", 1, "--only", "flat")
    page = file.parent / "runs/sim/small/report.html"
    page.unlink()
    result = sim("report", "runs/sim/small")
    assert result.exit_code == 0, result.output
    assert page.exists()


def test_a_report_of_what_is_no_run_is_refused(file: Path) -> None:
    result = sim("report", file.parent)
    assert result.exit_code == 1
    assert "no-run: There is no run in" in result.stderr
