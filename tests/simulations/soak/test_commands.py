"""Small samples of the long runs, with real processes: what must hold in them holds in minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import started

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LIMIT_S = 1100
LONG = ("memory grows", "descriptors")
"""Checks that need half an hour: in a minute a node is not yet as large as it gets, and the process
that computes for it, with its descriptors, comes and goes."""


def sim(*words: str) -> tuple[int, str]:
    """Run ``banyan sim …``; returns its exit status and what it printed."""
    command = [sys.executable, "-m", "nodes.cli", "sim", *words]
    with started(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"COLUMNS": "200"},
    ) as process:
        printed, _ = process.communicate(timeout=LIMIT_S)
    return process.returncode, printed


def failing(file: Path) -> list[dict[str, Any]]:
    report = json.loads(file.read_text("utf-8"))
    return [check for check in report["checks"] if not check["holds"]]


def test_a_minute_of_soak(tmp_path: Path) -> None:
    out = tmp_path / "soak"
    words = ("--minutes", "0.7", "--versions", "5", "--every", "5", "--out", str(out))
    _, printed = sim("soak", *words)
    assert (out / "soak.json").exists(), printed
    assert [c for c in failing(out / "soak.json") if not c["name"].startswith(LONG)] == []
    assert (out / "soak.png").read_bytes().startswith(b"\x89PNG")
    report = json.loads((out / "soak.json").read_text("utf-8"))
    assert report["away"]["versions"] >= 5
    assert {row["node"] for row in report["nodes"]} == {s["node"] for s in report["samples"]}


def test_three_kills(tmp_path: Path) -> None:
    out = tmp_path / "kills"
    _, printed = sim("kills", "--kills", "3", "--every", "3", "--out", str(out))
    assert (out / "kills.json").exists(), printed
    # After so few rounds the losses of two networks may be further apart.
    wrong = [c for c in failing(out / "kills.json") if not c["name"].startswith("held-out")]
    assert wrong == []
    report = json.loads((out / "kills.json").read_text("utf-8"))
    assert report["killed_by_role"] == {"root": 1, "interior": 1, "device": 1}
    assert report["audit"]["killed"]["accepted"] > 0


def test_a_second_daemon_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "failures"
    status, printed = sim("failures", "--only", "second-daemon", "--out", str(out))
    assert status == 0, printed
    (row,) = json.loads((out / "failures.json").read_text("utf-8"))
    assert row["note"] == "the second ended with status 1"
    assert row["recovered"] == "itself"
    assert row["said"][0]["where"] == "terminal"
    assert row["case"] in (out / "failures.md").read_text("utf-8")


def test_forty_days_with_small_adapters(tmp_path: Path) -> None:
    out = tmp_path / "year"
    status, printed = sim("year", "--days", "40", "--size", "2048", "--out", str(out))
    assert (out / "year.json").exists(), printed
    assert failing(out / "year.json") == []
    assert status == 0
