"""``banyan network init``: the base is tried first, and what was found is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.machine.clock import SystemClock
from nodes.state.home import open_home
from tests.nodes.model.families import make


def init(folder: Path, base: Path, *words: str) -> tuple[int, str]:
    """The exit status and the output of ``banyan network init``."""
    result = CliRunner().invoke(
        app, ["network", "init", str(folder), "--base", str(base), "--rank", "4", *words]
    )
    return result.exit_code, " ".join(result.output.split())


def test_what_the_trial_showed_is_said_in_a_few_lines(tmp_path: Path, base: Path) -> None:
    code, output = init(tmp_path / "root", base)
    assert code == 0, output
    for said in (
        "model llama, ",
        "positions 128; longer texts are cut",
        "vocabulary ",
        "targets q_proj (2), v_proj (2)",
        "memory about ",
        "packing as one document at a time",
    ):
        assert said in output
    assert open_home(tmp_path / "root", SystemClock().now_ms()).layout.rank == 4


def test_a_program_reads_it_as_json(tmp_path: Path, base: Path) -> None:
    code, output = init(tmp_path / "root", base, "--json")
    assert code == 0, output
    trial = json.loads(output)["trial"]
    assert (trial["architecture"], trial["positions"]) == ("llama", 128)
    assert trial["difference"] <= 1e-4


@pytest.mark.parametrize(
    ("family", "code"), [("bloom", "unsuitable-base"), ("gpt2", "bad-targets")]
)
def test_a_refused_base_leaves_nothing_behind(tmp_path: Path, family: str, code: str) -> None:
    base = make(tmp_path / "base", family)
    status, output = init(tmp_path / "root", base)
    assert status == 1
    assert output.startswith(f"{code}: ")
    assert "Traceback" not in output
    assert not (tmp_path / "root").exists()


def test_a_folder_that_is_no_base_is_one_sentence(tmp_path: Path) -> None:
    status, output = init(tmp_path / "root", tmp_path / "nothing")
    assert (status, output.partition(":")[0]) == (1, "no-base")
