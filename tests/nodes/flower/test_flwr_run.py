"""One federation under stock Flower: flower-superlink, flower-supernode and ``flwr run``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from nodes.dashboard.status import StatusReader
from nodes.errors import NodeError
from tests.nodes.network import ROUNDS, add_child, make_root
from tests.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
LIMIT_S = 240
"""Seconds, for a busy machine: stock Flower starts a process for every message."""


@contextmanager
def stock(folder: Path) -> Iterator[tuple[dict[str, str], list[psutil.Popen]]]:
    """An environment for Flower's tools and the processes started in it, all ended at the end."""
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "OMP_NUM_THREADS": "1",
    }
    folder.mkdir()
    started: list[psutil.Popen] = []
    try:
        yield environment, started
    finally:
        family = [c for p in started if p.is_running() for c in (p, *p.children(recursive=True))]
        for process in family:
            if process.is_running():
                process.kill()
        for process in started:
            process.wait(20)


def start(tool: str, *arguments: str, env: dict[str, str], log: Path) -> psutil.Popen:
    with log.open("ab") as output:
        return psutil.Popen([str(BIN / tool), *arguments], stdout=output, stderr=output, env=env)


def refusal(command: list[str], env: dict[str, str]) -> str:
    """What a tool that failed printed, or "" when it did what it was asked."""
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return "" if run.returncode == 0 else run.stdout + run.stderr or f"exit {run.returncode}"


def rounds_released(root: Path) -> int:
    try:
        return StatusReader(root).read().releases["round"]
    except NodeError:
        return 0


def test_flwr_run_makes_a_release_of_what_a_device_learned(tmp_path: Path, base: Path) -> None:
    root = make_root(tmp_path / "root", base, ROUNDS | {"max_releases": 1, "deadline_s": LIMIT_S})
    device = add_child(root, tmp_path / "device", base)
    port, node_port = free_port(), free_port()
    with stock(tmp_path / "flower") as (env, started):
        log = tmp_path / "console.log"
        address = f"127.0.0.1:{port}"
        (tmp_path / "flower" / "config.toml").write_text(
            f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{address}"\n'
            "insecure = true\n"
        )
        here = ["--insecure", "--host", "127.0.0.1", "--port"]
        started.append(start("flower-superlink", *here, str(port), env=env, log=log))
        node_config = f"config={json.dumps(str(device / 'node.toml'))}"
        arguments = ["--superlink", address, "--node-config", node_config]
        started.append(
            start("flower-supernode", *here, str(node_port), *arguments, env=env, log=log)
        )
        run_config = f"config={json.dumps(str(root / 'node.toml'))}"
        command = [str(BIN / "flwr"), "run", str(ROOT), "here", "--run-config", run_config]
        until = time.monotonic() + LIMIT_S
        while why := refusal(command, env):
            assert time.monotonic() < until, why + log.read_text()[-3000:]
            time.sleep(1)
        while rounds_released(root) < 1:
            assert time.monotonic() < until, log.read_text()[-3000:]
            time.sleep(0.5)
    assert StatusReader(root).read().accepted == 1
