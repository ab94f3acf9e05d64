"""The quick demo from end to end: nineteen processes, TLS, an attacker, a report."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jsonschema
import psutil
import pytest

from tests.processes import started

pytestmark = pytest.mark.slow

Report = dict[str, Any]
ROOT = Path(__file__).parent.parent
BASE_BYTES = 600_000
"""Of the tiny model, at least."""
LIMIT_S = 420
"""Seconds, for a busy machine; it takes about one minute on two idle cores."""


def demo(folder: Path) -> AbstractContextManager[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "nodes.cli", "demo", "--quick", "--json"]
    command += ["--out", str(folder / "demo")]
    return started(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("demo")
    with demo(folder) as process:
        out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err[-2000:]
    written: Report = json.loads((folder / "demo" / "report.json").read_text("utf-8"))
    assert json.loads(out) == written
    return written


def test_the_report_is_as_its_schema_says(report: Report) -> None:
    schema = json.loads((ROOT / "docs" / "demo-report.schema.json").read_text("utf-8"))
    jsonschema.validate(report, schema)


def test_every_scope_is_better_than_the_base(report: Report) -> None:
    assert len(report["losses"]) == 10
    assert [row["text"] for row in report["losses"] if row["gain"] <= 0] == []


def test_nothing_hostile_is_counted_and_each_refusal_has_a_reason(
    report: Report,
) -> None:
    hostile = report["hostile"]
    assert hostile["counted"] == 0
    refused = hostile["refused"].keys()
    assert refused >= {"norm-too-large", "bad-signature"}
    # The replayed update was counted before, or on a busy machine it came too late for its round.
    assert refused & {"replayed", "wrong-task"}
    assert hostile["outvoted"] >= 1
    assert hostile["at_the_door"]["path-not-exposed"] == 7
    assert hostile["at_the_door"]["unknown-transport-key"] >= 1


def test_every_node_but_the_root_got_the_base_from_its_circle(report: Report) -> None:
    nodes = {node["name"]: node for node in report["nodes"]}
    assert nodes["root"]["artefacts"]["taken"] == {}
    for name, node in nodes.items():
        if name == "root":
            continue
        taken = node["artefacts"]["taken"]
        assert sum(taken.values()) > BASE_BYTES
        is_device, scope = node["role"] == "device", node["scope"]
        above = scope if is_device else scope.rpartition("/")[0] or "/"
        for giver, count in taken.items():
            assert nodes[giver]["artefacts"]["given"][name] >= count
            is_parent = nodes[giver]["scope"] == above and nodes[giver]["role"] != "device"
            assert is_parent or nodes[giver]["role"] == node["role"]
    total = sum(sum(node["artefacts"]["taken"].values()) for node in nodes.values())
    assert sum(report["artefacts"].values()) == total


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_demo_that_is_ended_leaves_nothing_running(tmp_path: Path, sent: signal.Signals) -> None:
    with demo(tmp_path) as process:
        family = whole_family(process)
        process.send_signal(sent)
        process.communicate(timeout=60)
    assert process.returncode == (130 if sent is signal.SIGINT else -sent)
    assert left_of(family) == []


def test_a_demo_ends_with_a_make_that_is_killed(tmp_path: Path) -> None:
    """As ``make demo`` starts it; a killed make says nothing to its children."""
    command = [sys.executable, "-c", MAKE, str(tmp_path / "demo")]
    with started(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT) as make:
        family = whole_family(make)
        make.kill()
        make.wait()
        assert left_of(family) == []


MAKE = """
import subprocess, sys
words = ["demo", "--quick", "--with-parent", "--out", sys.argv[1]]
subprocess.run([sys.executable, "-m", "nodes.cli", *words])
"""
NODES = 19


def whole_family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """All below a process, once every node of the demo runs."""
    family: list[psutil.Process] = []
    until = time.monotonic() + LIMIT_S
    while len(family) <= NODES:
        assert time.monotonic() < until
        assert process.poll() is None
        family = psutil.Process(process.pid).children(recursive=True)
        time.sleep(0.2)
    return family


def left_of(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that do not end; they are killed."""
    _, alive = psutil.wait_procs(family, timeout=60)
    for member in alive:
        member.kill()
    return alive
