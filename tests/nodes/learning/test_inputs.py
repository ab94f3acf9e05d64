"""Mistakes in what a node is told to read are said at its start, and stand in its status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.config.files import load_config, write_config
from nodes.errors import NodeError
from nodes.learning.corpus import StoredCorpus
from nodes.learning.inputs import Inputs, check_inputs
from nodes.machine.clock import ManualClock, SystemClock
from nodes.machine.troubles import TROUBLES_FILE, Troubles
from nodes.state.home import Home, open_home
from nodes.text.replay_buffer import ReplayBuffer
from tests.nodes.network import add_child, make_root


@pytest.fixture
def root(tmp_path: Path, base: Path) -> Path:
    return make_root(tmp_path / "root", base)


@pytest.fixture
def device(root: Path, base: Path) -> Home:
    folder = add_child(root, root.parent / "device", base)
    return open_home(folder, SystemClock().now_ms())


def problems(home: Home, base: Path, **data: Any) -> list[tuple[str, str, bool]]:
    """Key, code and whether it ends the node, of a node with these ``[data]``."""
    config = load_config(write_config(home, base=base, settings={"data": data}))
    return [(p.key, p.error.code, p.ends) for p in check_inputs(home, config)]


def test_a_node_that_reads_what_it_was_told_has_no_problem(
    root: Path, device: Home, base: Path
) -> None:
    assert problems(device, base, train=["train.jsonl"]) == []
    parent = open_home(root, SystemClock().now_ms())
    assert problems(parent, base, probes={"all": "probes.jsonl"}) == []


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "no-text"), ("", "no-text"), ("folder", "no-text"), ("Größe", "bad-text")],
    ids=["missing", "empty", "a folder", "Latin-1"],
)
def test_text_that_cannot_be_read_ends_a_device_unless_it_has_other(
    device: Home, base: Path, content: str | None, code: str
) -> None:
    file = device.folder / "notes.txt"
    if content == "folder":
        file.mkdir()
    elif content is not None:
        file.write_bytes(content.encode("latin-1"))
    assert problems(device, base, train=["notes.txt"]) == [("text:notes.txt", code, True)]
    both = problems(device, base, train=["notes.txt", "train.jsonl"])
    assert both == [("text:notes.txt", code, False)]
    with ReplayBuffer(device.folder) as buffer:
        buffer.take_in("own", [f"document {i}" for i in range(20)])
    assert problems(device, base, train=["notes.txt"]) == [("text:notes.txt", code, False)]


def test_a_device_without_any_text_is_told_and_follows(device: Home, base: Path) -> None:
    assert problems(device, base) == [("text", "no-data", False)]
    assert problems(device, base, watch="gone") == [("text:watch", "no-watch-folder", True)]


def test_a_base_that_moved_and_probes_that_are_gone_end_a_node(root: Path, base: Path) -> None:
    home = open_home(root, SystemClock().now_ms())
    gone = root / "gone"
    assert problems(home, gone, probes={"all": "probes.jsonl"}) == [("base", "no-base", True)]
    assert problems(home, base, probes={"all": "gone"}) == [("probes:all", "no-text", True)]


@pytest.mark.parametrize("mistake", ["text", "base"])
def test_a_node_ends_at_its_start_with_the_sentence(
    device: Home, base: Path, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if mistake == "text":
        (device.folder / "train.jsonl").unlink()
    else:
        text = (device.folder / "node.toml").read_text("utf-8")
        (device.folder / "node.toml").write_text(text.replace(str(base), "/moved"), "utf-8")
    monkeypatch.setattr("signal.signal", lambda *_: None)
    result = CliRunner().invoke(app, ["node", "run", "--node", str(device.folder)])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"no-{mistake}: ")
    assert not (device.folder / "ledger.sqlite").exists()


@pytest.fixture
def troubled(device: Home, base: Path) -> tuple[Inputs, Troubles]:
    clock = ManualClock(SystemClock().now_ms() - 7_200_000)
    config = load_config(
        write_config(device, base=base, settings={"data": {"train": ["train.jsonl", "a.txt"]}})
    )
    troubles = Troubles(device.folder / TROUBLES_FILE, clock)
    return Inputs(device, config, troubles), troubles


def test_a_problem_stands_in_the_status_until_it_is_mended(
    device: Home, troubled: tuple[Inputs, Troubles]
) -> None:
    inputs, troubles = troubled
    inputs.check()
    shown = CliRunner().invoke(app, ["node", "status", "--node", str(device.folder), "--json"])
    (trouble,) = json.loads(shown.stdout)["troubles"]
    assert (trouble["key"], trouble["code"]) == ("text:a.txt", "no-text")
    assert trouble["stands_ms"] >= 7_200_000
    text = CliRunner().invoke(app, ["node", "status", "--node", str(device.folder)]).stdout
    assert "trouble: text:a.txt" in text
    assert "for 2 hours, once" in " ".join(text.split())
    (device.folder / "a.txt").write_text("a document")
    inputs.check_again()
    assert troubles.standing == ()


def test_a_missing_file_costs_its_own_text_alone(device: Home, base: Path) -> None:
    data = {"train": ["gone.txt", "train.jsonl"]}
    config = load_config(write_config(device, base=base, settings={"data": data}))
    assert StoredCorpus(device, config, SystemClock()).lesson(8).fresh
    data = {"train": ["gone.txt"]}
    config = load_config(write_config(device, base=base, settings={"data": data}))
    with pytest.raises(NodeError, match="no-text"):
        StoredCorpus(device, config, SystemClock()).lesson(8)


def test_the_parents_status_says_who_abstains_and_why(root: Path, device: Home, base: Path) -> None:
    from nodes.releases.publish import start_root
    from tests.nodes.network import answer, peer

    (device.folder / "train.jsonl").write_bytes("Größe".encode("latin-1"))
    above, below = peer(root), peer(device.folder)
    try:
        start_root(above.node)
        parent = above.parent()
        (request,) = parent.step()
        answer(parent, below, request)
    finally:
        above.close()
        below.close()
    result = CliRunner().invoke(app, ["node", "status", "--node", str(root)])
    assert "device: bad-text, for" in result.stdout, result.output
