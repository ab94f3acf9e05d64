"""``banyan node invite | approve | dismiss | invitations | join TOKEN``, as a person types them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from structlog.testing import capture_logs
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.config.files import load_config
from nodes.peers.joining.desk import EnrolmentDesk
from nodes.peers.joining.invitations import Invitations
from nodes.peers.joining.token import JoinToken
from nodes.state.home import open_home
from protocol import Role, Scope
from tests.nodes.network import Peer, add_child, make_root, peer
from tests.nodes.peers.joining.test_desk import NOBODY, asking
from tests.nodes.peers.pair import circle_below
from tests.ports import free_port


def banyan(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def result_of(*words: str) -> Any:
    result = banyan(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Nothing is logged on stdout; the command itself logs to stderr, warnings only."""
    with capture_logs():
        yield


@pytest.fixture
def root(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root that does not run, in the current folder."""
    monkeypatch.chdir(tmp_path)
    return make_root(tmp_path / "root", base, port=free_port())


@pytest.fixture
def running(root: Path) -> Iterator[Peer]:
    """The same, and its peer service runs in this process."""
    with ExitStack() as stack:
        opened = peer(root)
        stack.callback(opened.close)
        circle = circle_below(opened)
        circle.start()
        stack.callback(circle.stop)
        yield opened


AT = ("--node", "root")
DEVICE = ("node", "invite", *AT, "--scope", "/", "--device")


def test_an_invitation_prints_the_token_alone_where_nobody_reads_it(root: Path) -> None:
    printed = banyan(*DEVICE, "--name", "clinic")
    token = JoinToken.decode(printed.stdout.strip())
    assert (token.scope, token.role, token.name) == (Scope("/"), Role.DEVICE, "clinic")
    assert all(address.startswith("127.0.0.1:") for address in token.addresses)
    assert "clinic" in printed.stderr


def test_an_address_without_a_port_gets_that_of_the_door(root: Path) -> None:
    made = result_of(*DEVICE, "--address", "gateway.example", "--address", "10.0.0.7:443")
    door = json.loads((root / "peer-ports.json").read_text("utf-8"))["door"]
    assert made["addresses"] == [f"gateway.example:{door}", "10.0.0.7:443"]
    assert JoinToken.decode(made["token"]).addresses == tuple(made["addresses"])


def test_invitations_are_listed_without_their_secrets(root: Path) -> None:
    assert banyan("node", "invitations", *AT).stdout.startswith("No invitation is open")
    made = result_of(*DEVICE, "--name", "clinic")
    result_of("node", "invite", *AT, "--scope", "/en", "--hours", "1")
    listed = result_of("node", "invitations", *AT)
    assert [(one["role"], one["name"], one["by_person"]) for one in listed] == [
        ("device", "clinic", False),
        ("interior", None, True),
    ]
    assert made["id"] == listed[0]["id"]
    table = banyan("node", "invitations", *AT).stdout
    secret = JoinToken.decode(made["token"]).secret
    assert "clinic" in table
    assert secret.hex() not in table + json.dumps(listed)
    assert made["token"] not in table + json.dumps(listed)


def test_a_person_decides_who_waits_beside_the_running_node(root: Path, tmp_path: Path) -> None:
    word = result_of("node", "invite", *AT, "--scope", "/en")["token"]
    token = JoinToken.decode(word)
    with ExitStack() as stack:
        opened = peer(root)
        stack.callback(opened.close)
        invitations = stack.enter_context(Invitations(root))
        circle = circle_below(opened)
        stack.callback(circle.stop)
        desk = EnrolmentDesk(opened.node, invitations, circle.whereabouts)
        asked = asking(tmp_path / "english", token)
        assert desk.enrol(NOBODY, asked).waiting
        assert result_of("node", "invitations", *AT)[0]["state"] == "waiting"
        assert result_of("node", "approve", "english", *AT)["state"] == "used"
        assert desk.enrol_status(NOBODY, asked).path
    assert result_of("node", "invitations", *AT) == []
    assert result_of("node", "invitations", *AT, "--all")[0]["state"] == "used"


def test_an_invitation_is_taken_back(root: Path) -> None:
    made = result_of(*DEVICE)
    assert result_of("node", "dismiss", made["id"][:6], *AT)["state"] == "withdrawn"
    assert result_of("node", "invitations", *AT) == []


@pytest.mark.slow
def test_what_is_refused_is_one_sentence(root: Path, tmp_path: Path, base: Path) -> None:
    word = result_of(*DEVICE)["token"]
    other = "A" if word[40] != "A" else "B"
    add_child(root, tmp_path / "device", base)
    for code, words in [
        ("bad-token", ("join", word[:40] + other + word[41:])),
        ("bad-token", ("join", f"c{word[1:]}")),
        ("bad-token", ("join", "device")),
        ("usage", ("join", "device", "x.bundle", "--name", "x")),
        ("no-bundle", ("join", "device", "x.bundle")),
        ("no-text", ("join", word, "--text", "gone.txt")),
        ("exists", ("join", word, "device")),
        ("wrong-place", ("invite", *AT, "--scope", "/en", "--device")),
        ("wrong-place", ("invite", "--node", "device", "--scope", "/", "--device")),
        ("duplicate-name", (*DEVICE[1:], "--name", "device")),
        ("bad-hours", (*DEVICE[1:], "--hours", "25")),
        ("bad-address", (*DEVICE[1:], "--address", "https://x")),
        ("no-invitation", ("approve", "nobody", *AT)),
        ("no-invitation", ("dismiss", "", *AT)),
    ]:
        result = banyan("node", *words)
        assert result.exit_code == 1, words
        assert result.stdout == "", words
        assert result.stderr.startswith(f"{code}: "), (words, result.stderr)
        assert result.stderr.count("\n") == 1, words
    assert {path.name for path in tmp_path.iterdir()} == {"root", "device"}


@pytest.mark.slow
def test_joining_is_one_line(running: Peer, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a document")
    word = result_of(*DEVICE)["token"]
    result = banyan("node", "join", word, "--text", "notes.txt")
    assert result.exit_code == 0, result.output
    (name,) = running.node.state.membership.members
    folder = tmp_path / name.name  # of the token's usual name, in the current folder
    assert open_home(folder, running.node.clock.now_ms()).id == name.node
    assert f"Joined as {name.name}: " in result.stdout
    assert result.stdout.endswith(f"Next: banyan node run --node {name.name}\n")
    config = load_config(folder / "node.toml")
    assert config.data.train == (tmp_path / "notes.txt",)
    assert "Accepted as" in result.stderr
    assert "the base: 100 %" in result.stderr

    again = banyan("node", "join", word)
    assert again.exit_code == 0, again.output
    thief = banyan("node", "join", word, "thief")
    assert (thief.exit_code, thief.stdout) == (1, "")
    assert thief.stderr.splitlines()[-1].startswith("token-used: ")


@pytest.mark.slow
def test_a_link_that_is_down_leaves_the_folder_for_the_next_try(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nodes.peers.joining.join.REACH_TRIES", 1)
    word = result_of(*DEVICE)["token"]
    assert banyan("node", "join", word, "clinic").stderr.startswith("link-down: ")
    with ExitStack() as stack:
        opened = peer(root)
        stack.callback(opened.close)
        circle = circle_below(opened)
        circle.start()
        stack.callback(circle.stop)
        result = banyan("node", "join", word, "clinic")
        assert result.exit_code == 0, result.output
        assert "[data] train or watch" in result.stdout


# -- the code on a terminal ---------------------------------------------------------------------


def on_terminal(columns: int, *words: str, lines: int = 60) -> str:
    """Run the command on a terminal of its own; return what it shows."""
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        with subprocess.Popen(
            [sys.executable, "-m", "nodes.cli", *words],
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            env={
                **os.environ,
                "TERM": "xterm",
                "PYTHONIOENCODING": "utf-8",
                "COLUMNS": "",
                "LINES": "",
            },
        ) as process:
            os.close(theirs)
            theirs = -1
            shown = b""
            while True:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # how Linux says that nobody has the other end open
                    break
                if not part:
                    break
                shown += part
            assert process.wait(60) == 0, process.stderr.read() if process.stderr else ""
            if process.stderr:
                process.stderr.close()
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
    return shown.decode("utf-8")


_TERMINAL = {"TERM": "xterm", "COLUMNS": "", "LINES": ""}


@pytest.mark.slow
def test_a_terminal_that_can_shows_a_code(root: Path) -> None:
    wide = on_terminal(200, *DEVICE)
    assert "▀" in wide
    assert "banyan node join banyan-" in wide
    assert "▀" not in on_terminal(40, *DEVICE)
    assert "▀" not in on_terminal(200, *DEVICE, lines=20)
    assert "▀" not in on_terminal(200, *DEVICE, "--no-qr")
    assert "▀" not in banyan(*DEVICE).stdout
    assert "▀" in banyan(*DEVICE, "--qr").stdout
