"""A refused command is one sentence, and leaves every file and folder as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.machine.files import nothing_left
from nodes.releases.publish import start_root
from nodes.trust.bundle import Bundle
from tests.nodes.network import add_child, make_root, peer


def banyan(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file and folder, also hidden ones; without what only says how far a ledger was read."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.name != "ledger.mark"
    }


@pytest.fixture
def here(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a release and a device, a request of a new node and a bundle for it."""
    root = make_root(tmp_path / "root", base)
    opened = peer(root)
    start_root(opened.node)
    opened.close()
    add_child(root, tmp_path / "device", base)
    monkeypatch.chdir(tmp_path)
    assert banyan("node", "request", "new", "--scope", "/", "--device").exit_code == 0
    to = ("--out", "new.bundle", "--address", "127.0.0.1:9")
    asked = ("--request", "new/request.json", *to)
    assert banyan("node", "enrol", "--node", "root", *asked).exit_code == 0
    bundle = Bundle.decode(Path("new.bundle").read_bytes())
    damaged: dict[str, Any] = {"layout": "{}", "basis": b"", "network": b"x", "addresses": ("?",)}
    for name, value in damaged.items():
        Path(f"bad-{name}.bundle").write_bytes(Bundle(**vars(bundle) | {name: value}).encode())
    Path("garbage").write_bytes(b"\xff[/]\x1b")
    Path("pointer").mkdir()
    Path("pointer/model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    Path("pointer/tokenizer.json").write_text("{}")
    Path("notes.txt").write_text("a document")
    return tmp_path


AT = ("--node", "root")
REQUEST = ("--request", "new/request.json", "--address", "127.0.0.1:9")
NEW = ("--scope", "/", "--device", "--address", "127.0.0.1:9")
JOIN = ("--base", "base")
REFUSED = [
    ("network", "init", "made", "--base", "gone"),
    ("network", "init", "made", "--base", "pointer"),
    ("network", "init", "made", "--base", "BASE", "--name", "x" * 500),
    ("network", "init", "root", "--base", "BASE"),
    ("network", "init", "notes.txt", "--base", "BASE"),
    ("node", "request", "a/b/made", "--scope", "EN"),
    ("node", "request", "made", "--scope", "/", "--name", "\x1b[31m"),
    ("node", "request", "new", "--scope", "/"),
    ("node", "request", "notes.txt", "--scope", "/"),
    ("node", "enrol", *AT, "--request", "nothing.json", "--out", "x", "--address", "a:1"),
    ("node", "enrol", *AT, "--request", "root", "--out", "x", "--address", "a:1"),
    ("node", "enrol", *AT, "--request", "garbage", "--out", "x", "--address", "a:1"),
    ("node", "enrol", *AT, *REQUEST, "--out", "nodir/x"),
    ("node", "enrol", *AT, *REQUEST, "--out", "root"),
    ("node", "enrol", *AT, *REQUEST),
    ("node", "enrol", *AT, "--new", "made", *NEW[:-1], ""),
    ("node", "enrol", *AT, "--new", "made", "--scope", "/en/heart", *NEW[2:]),
    ("node", "enrol", *AT, "--new", "made", "--scope", "no", *NEW[2:]),
    ("node", "enrol", *AT, "--new", "made", "--name", "device", *NEW),
    ("node", "enrol", *AT, "--new", "device", *NEW),
    ("node", "enrol", *AT, "--new", "notes.txt/made", *NEW),
    ("node", "enrol", "--node", "device", "--new", "made", *NEW),
    ("node", "join", "new", "gone.bundle", *JOIN),
    ("node", "join", "new", "garbage", *JOIN),
    ("node", "join", "new", "root", *JOIN),
    ("node", "join", "new", "bad-layout.bundle", *JOIN),
    ("node", "join", "new", "bad-basis.bundle", *JOIN),
    ("node", "join", "new", "bad-network.bundle", *JOIN),
    ("node", "join", "new", "bad-addresses.bundle", *JOIN),
    ("node", "join", "device", "new.bundle", *JOIN),
    ("node", "join", "nowhere", "new.bundle", *JOIN),
    ("node", "suspend", "", *AT),
    ("node", "suspend", "nobody", *AT),
    ("node", "resume", "nobody", *AT),
    ("node", "revoke", "", *AT),
    ("node", "revoke", "nobody", *AT),
    ("node", "revoke", "device", "--node", "nowhere"),
    ("node", "withdraw", "", *AT),
    ("node", "withdraw", "device", *AT),
    ("node", "rollback", "--to", "9", *AT),
    ("node", "rollback", "--to", "1", "--node", "device"),
    ("node", "publish", "garbage", *AT),
    ("node", "publish", "gone", *AT),
    ("node", "publish", "root", *AT),
    ("node", "take-in", "notes.txt", *AT),
    ("node", "take-in", "gone.txt", "--source", "s", *AT),
    ("node", "take-in", "garbage", "--source", "s", *AT),
    ("node", "take-in", "notes.txt", "--source", "s", "--child", "nobody", *AT),
    ("node", "status", "--node", "nowhere"),
    ("node", "history", "--node", "device"),
    ("ask", "/", "words", "--node", "nowhere"),
]


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_a_refused_command_leaves_nothing_behind(
    here: Path, base: Path, words: tuple[str, ...]
) -> None:
    before = contents(here)
    result = banyan(*(str(base) if word == "BASE" else word for word in words))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1), result.output
    assert not result.stderr.startswith("internal-error")
    assert contents(here) == before


def test_a_watched_folder_that_is_gone_takes_in_nothing(here: Path) -> None:
    with (here / "root" / "node.toml").open("a", encoding="utf-8") as config:
        config.write("\n[replay]\nshare = 0.05\n")
    text = (here / "root" / "node.toml").read_text("utf-8")
    text = text.replace("[data]", '[data]\nwatch = "gone"')
    (here / "root" / "node.toml").write_text(text, "utf-8")
    before = contents(here)
    result = banyan("node", "take-in", "notes.txt", "--source", "s", *AT)
    assert result.stderr.startswith("no-watch-folder")
    assert contents(here) == before


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt), nothing_left(tmp_path / "old"):
        (tmp_path / "old" / "new").mkdir()
        (tmp_path / "old" / "new" / "file").write_text("new")
        (tmp_path / "old" / "link").symlink_to(tmp_path)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), nothing_left(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b").mkdir(parents=True)
        raise KeyboardInterrupt
    assert contents(tmp_path) == {"old": None, "old/file": b"old"}
