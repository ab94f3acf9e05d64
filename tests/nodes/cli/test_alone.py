"""A node without the experiments: no ``simulations``, none of the libraries of its extra.

Every command is a process of its own, as a person starts it, and prints its result alone to stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.state.home import ENDPOINT_FILE
from nodes.text.files import write_texts
from protocol import encode_adapter
from tests.nodes.conftest import PROBES
from tests.processes import started

WAIT_S = 60.0
SCRIPT = """
import runpy, sys

HIDDEN = {"simulations", "matplotlib", "ray", "numba"}

class Hide:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        hidden = name.partition(".")[0] in HIDDEN
        return None if hidden else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hide, sys.meta_path)
runpy.run_module("nodes.cli", run_name="__main__", alter_sys=True)
"""
COMMAND = [sys.executable, "-c", SCRIPT]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def banyan(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, env=ENVIRONMENT, timeout=WAIT_S
    )


def result_of(*words: str) -> dict[str, Any]:
    """What a command prints to stdout with ``--json``: one document and nothing else."""
    done = banyan(*words, "--json")
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.mark.slow
def test_a_node_is_made_runs_and_is_verified_without_simulations(
    tmp_path: Path, base: Path
) -> None:
    root = tmp_path / "root"
    made = result_of("network", "init", str(root), "--base", str(base), "--rank", "4")
    write_texts(root / "probes.jsonl", PROBES)
    with (root / "node.toml").open("a", encoding="utf-8") as config:
        config.write('[data.probes]\nall = "probes.jsonl"\n')
    adapter = tmp_path / "adapter.safetensors"
    adapter.write_bytes(encode_adapter(np.full(made["parameters"], 0.01, np.float32)))
    assert result_of("node", "publish", str(adapter), "--node", str(root))["version"] == 2

    command = [*COMMAND, "node", "run", "--node", str(root)]
    pipe = subprocess.PIPE
    with started(command, stdout=pipe, stderr=pipe, env=ENVIRONMENT) as process:
        until = time.monotonic() + WAIT_S
        while not (root / ENDPOINT_FILE).exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.05)
        enrolling = ("--new", str(tmp_path / "clinic"), "--scope", "/", "--device")
        enrolled = result_of("node", "enrol", "--node", str(root), *enrolling)
        process.terminate()
        stdout, stderr = process.communicate(timeout=WAIT_S)
    assert (process.returncode, stdout) == (0, ""), stderr

    status = result_of("node", "status", "--node", str(root))
    assert (status["node"], status["version"]) == (made["root"], 2)
    assert status["members"] == {enrolled["node"]: "clinic"}
    assert result_of("node", "verify", "--node", str(root))["events"] >= 3


def test_the_demo_says_what_to_install() -> None:
    done = banyan("demo", "--quick")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("not-installed: `banyan demo` needs")
    assert "pip install 'banyan-fl[simulations]'" in done.stderr


def test_what_a_command_logs_goes_to_stderr() -> None:
    script = """
import runpy, structlog
from nodes.cli.app import app
from nodes.cli.output import print_json

@app.command("speak")
def speak() -> None:
    structlog.get_logger().warning("a-warning")
    print_json({"result": 1})

runpy.run_module("nodes.cli", run_name="__main__", alter_sys=True)
"""
    command = [sys.executable, "-c", script, "speak"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"result": 1}
    assert "a-warning" in done.stderr
