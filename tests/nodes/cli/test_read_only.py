"""Commands that only read, on a folder that cannot be written, and beside a damaged node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.releases.publish import publish_by_hand
from nodes.text.replay_buffer import ReplayBuffer
from protocol import encode_adapter
from tests.nodes.network import add_child, make_root, peer

MOUNTED = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && ! touch "$0/x" 2>/dev/null'


def can_mount() -> bool:
    return os.geteuid() == 0 and not subprocess.run(["unshare", "-m", "true"]).returncode


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[list[str]]:
    """Words before a command, which sees ``tmp_path`` as it is on a read-only file system."""
    if can_mount():
        yield ["unshare", "-m", "sh", "-c", f'{MOUNTED} && exec "$@"', str(tmp_path)]
        return
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere, and cannot mount here")
    folders = [folder for folder, _, _ in os.walk(tmp_path)]
    for folder in folders:
        Path(folder).chmod(0o555)
    yield []
    for folder in folders:
        Path(folder).chmod(0o755)


@pytest.fixture
def root(tmp_path: Path, base: Path) -> Path:
    """A root with a release, text of its own and a child; no process runs."""
    folder = make_root(tmp_path / "nodes" / "root", base)
    opened = peer(folder)
    publish_by_hand(opened.node, encode_adapter(np.full(opened.node.size, 0.01, np.float32)))
    opened.close()
    with ReplayBuffer(folder) as buffer:
        buffer.take_in("own", ["some text", "other text"])
    add_child(folder, tmp_path / "nodes" / "one", base)
    return folder


def banyan(prefix: list[str], *words: str) -> str:
    command = [*prefix, sys.executable, "-m", "nodes.cli", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_what_only_reads_works_in_a_folder_that_cannot_be_written(
    root: Path, prefix: list[str]
) -> None:
    before = contents(root)
    at = ("--node", str(root), "--json")
    status = json.loads(banyan(prefix, "node", "status", *at))
    assert (status["version"], len(status["members"])) == (2, 1)
    tree = json.loads(banyan(prefix, "tree", *at))["tree"]
    assert (tree["status"]["version"], len(tree["children"])) == (2, 1)
    assert sum(size["own"]["documents"] for size in status["text"].values()) == 2
    assert len(json.loads(banyan(prefix, "node", "history", *at))) == 2
    assert json.loads(banyan(prefix, "node", "verify", *at))["events"] > 2
    asked = banyan(prefix, "ask", "/", "heart", "--tokens", "1", "--nodes", str(root), "--json")
    assert json.loads(asked)["version"] == 2
    assert contents(root) == before


@pytest.mark.slow
def test_a_node_that_would_run_there_is_one_sentence(root: Path, prefix: list[str]) -> None:
    command = [*prefix, sys.executable, "-m", "nodes.cli", "node", "run", "--node", str(root)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert str(root) in done.stderr


@pytest.mark.slow
def test_what_a_crash_left_in_the_log_of_writes_is_read_there_too(
    root: Path, tmp_path: Path, base: Path, request: pytest.FixtureRequest
) -> None:
    opened = peer(root)  # its last events are in the write-ahead log alone, as long as it is open
    try:
        publish_by_hand(opened.node, encode_adapter(np.full(opened.node.size, 0.02, np.float32)))
        crashed = shutil.copytree(
            root, tmp_path / "crashed", ignore=lambda *_: ["ledger.sqlite-shm"]
        )
    finally:
        opened.close()
    assert (crashed / "ledger.sqlite-wal").stat().st_size
    prefix = request.getfixturevalue("prefix")
    status = json.loads(banyan(prefix, "node", "status", "--node", str(crashed), "--json"))
    assert status["version"] == 3


@pytest.mark.parametrize("damage", ["network.env", "layout.json", "identity.pem", "path/00.env"])
def test_a_damaged_node_is_named_and_the_others_are_found(
    root: Path, base: Path, damage: str
) -> None:
    broken = make_root(root.parent / "broken", base)
    (broken / damage).write_bytes(b"\xff damaged [/]")
    result = CliRunner().invoke(
        app, ["node", "status", "--node", "/", "--nodes", str(root.parent), "--json"]
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["version"] == 2
    assert "is passed over" in result.stderr
    assert str(broken) in result.stderr
    assert result.stderr.count("\n") == 1
