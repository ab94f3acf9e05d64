"""Claims about reading a run's folder: unfinished, damaged, empty, changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nodes.errors import NodeError
from simulations.report import write_report
from tests.simulations.report import made
from tests.simulations.report.page import Page


@pytest.mark.slow
def test_an_unfinished_run_says_how_many_cells_are_missing(tmp_path: Path) -> None:
    folder = made.byzantine(tmp_path / "run")
    first, second, *_ = sorted((folder / "cells").glob("*.jsonl"))
    first.unlink()
    second.rename(second.with_suffix(".part.jsonl"))
    report = write_report(folder)
    assert (report.finished, report.expected, report.missing) == (28, 30, 2)
    html = report.html.read_text("utf-8")
    assert "Unfinished: 2 cells of 30 not finished yet, 1 of them begun" in html
    results = json.loads(report.json.read_text("utf-8"))
    assert (results["format"], results["finished"]) == (1, 28)


def test_cells_of_experiment_json_name_those_that_are_missing(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    made.add_cell(folder, {"id": "abc", "name": "seed=7", "vary": {"seed": 7}})
    made.change(folder, versions={"banyan": "9.9"})
    report = write_report(folder)
    assert report.missing == 1
    assert json.loads(report.json.read_text("utf-8"))["missing"] == ["seed=7"]
    html = report.html.read_text("utf-8")
    assert "seed=7" in html
    assert "9.9" in html


@pytest.mark.slow
def test_a_finished_run_does_not_say_unfinished(tmp_path: Path) -> None:
    report = write_report(made.byzantine(tmp_path / "run"))
    assert report.missing == 0
    assert "Unfinished" not in report.html.read_text("utf-8")


def test_a_run_without_finished_cells_is_a_page_that_says_so(tmp_path: Path) -> None:
    folder = made.write_experiment(tmp_path / "run", 'name = "x"')
    for seed in (0, 1):
        made.add_cell(folder, {"id": f"{seed}", "name": f"seed={seed}", "vary": {"seed": seed}})
    report = write_report(folder)
    html = report.html.read_text("utf-8")
    assert "No cell is finished yet." in html
    assert "2 cells of 2" in html
    assert Page(html).sections == ["configuration"]
    assert report.png.read_bytes().startswith(b"\x89PNG")
    assert report.answers == ()


OBLONG = {"kind": "matrix", "name": "m", "sources": ["a", "b"], "losses": [[1, 2]]}


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: [*lines[:4], lines[4][: len(lines[4]) // 2], *lines[5:]], 5),
        (lambda lines: [*lines[:2], "", *lines[2:]], 3),
        (lambda lines: [*lines[:2], '{"kind": "loss", "at_s": "soon"}', *lines[2:]], 3),
        (lambda lines: [*lines[:2], '{"what": "no kind"}', *lines[2:]], 3),
        (lambda lines: [*lines[:2], json.dumps(OBLONG), *lines[2:]], 3),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], *lines], 2),
        (lambda lines: lines[:7], 8),
        (lambda lines: [*lines, lines[1]], 0),
        (lambda lines: [], 1),
    ],
    ids=[
        "cut",
        "blank",
        "wrong type",
        "no kind",
        "oblong",
        "no cell",
        "two",
        "no done",
        "more",
        "empty",
    ],
)
def test_a_damaged_line_is_refused_with_its_file_and_number(
    damage: Any, line: int, tmp_path: Path
) -> None:
    folder = made.single(tmp_path / "run")
    (path,) = (folder / "cells").glob("*.jsonl")
    lines = path.read_text("utf-8").splitlines()
    path.write_text("".join(f"{text}\n" for text in damage(lines)), "utf-8")
    with pytest.raises(NodeError) as refused:
        write_report(folder)
    assert refused.value.code == "bad-record"
    assert f"{path}, line {line or len(lines) + 1}:" in refused.value.sentence
    assert not (folder / "report.html").exists()


def test_a_damaged_experiment_is_refused_with_the_field(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    made.change(folder, cells=[{"id": "abc", "name": 7}])
    with pytest.raises(NodeError, match=r"experiment\.json: cells\.0\.name: ") as refused:
        write_report(folder)
    assert refused.value.code == "bad-record"


def test_a_folder_without_an_experiment_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(NodeError) as refused:
        write_report(tmp_path)
    assert refused.value.code == "no-run"


def test_without_matplotlib_the_error_says_what_to_install() -> None:
    program = "import sys; sys.modules['matplotlib'] = None; import simulations.report"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "no-matplotlib: A report needs matplotlib; install the extra" in ended.stderr


def test_a_record_of_an_unknown_kind_is_damage_with_its_line(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    (path,) = (folder / "cells").glob("*.jsonl")
    first, *rest = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([first, '{"kind": "audit", "x": 1}', *rest]) + "\n", "utf-8")
    with pytest.raises(NodeError, match=r"jsonl, line 2: .*'audit'") as refused:
        write_report(folder)
    assert refused.value.code == "bad-record"


def test_a_cell_that_failed_is_named_with_the_reason(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    (path,) = (folder / "cells").glob("*.jsonl")
    path.unlink()
    why = {"id": path.stem, "name": "seed=0", "code": "no-text", "sentence": "There is no text."}
    (folder / "cells" / f"{path.stem}.failed.json").write_text(json.dumps(why), "utf-8")
    (folder / "cells" / f"{path.stem}.part.jsonl").write_text("{", "utf-8")
    html = write_report(folder).html.read_text("utf-8")
    assert "1 cell of 1 not finished yet, 1 of them failed." in html
    assert "There is no text." in html


@pytest.mark.slow
def test_what_the_command_line_changed_is_said(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    made.change(folder, quick=True, set={"rounds.f": 3}, question="Q?")
    page = Page(write_report(folder).html.read_text("utf-8"))
    assert page.row("configuration", "rounds.f") == {
        "set on the command line": "rounds.f",
        "to": "3",
    }
    html = (folder / "report.html").read_text("utf-8")
    assert "small version (--quick)" in html
    assert "Q?" in html


def test_cells_of_other_versions_are_shown_with_theirs(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    (path,) = (folder / "cells").glob("*.jsonl")
    first, *rest = path.read_text("utf-8").splitlines()
    head = json.loads(first) | {"versions": {"banyan": "0.0.9", "flwr": "1.41.0"}}
    path.write_text("\n".join([json.dumps(head), *rest]) + "\n", "utf-8")
    page = Page(write_report(folder).html.read_text("utf-8"))
    assert page.row("configuration", "banyan")[""] == "0.1.0, 0.0.9"
    assert page.row("configuration", "flwr")[""] == "1.41.0"
