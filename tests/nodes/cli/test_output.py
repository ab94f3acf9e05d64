"""What a terminal is given: text of others as it is, and every error as one sentence."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from nodes.cli.app import app as banyan
from nodes.cli.explain import explained
from nodes.cli.output import PlainConsole, one_sentence, print_json
from nodes.errors import NodeError
from nodes.machine.terminal import in_one_line, visible
from nodes.serving.ask import Answer
from tests.nodes.network import make_root

FOREIGN = "[/INST] [bold]name[/] :smile: \x1b[31mred\x07\r \u202egnp.exe"
SHOWN = r"[/INST] [bold]name[/] :smile: \x1b[31mred\x07\r \u202egnp.exe"


def printed(renderable: object, capsys: pytest.CaptureFixture[str]) -> str:
    PlainConsole().print(renderable, width=200)
    return capsys.readouterr().out


@pytest.mark.parametrize("wrap", [str, Panel, Text], ids=["line", "panel", "styled"])
def test_foreign_text_is_shown_and_never_interpreted(
    wrap: Callable[[str], object], capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(wrap(FOREIGN), capsys)
    assert "[/INST] [bold]name[/] :smile:" in out
    assert r"\x1b[31mred" in out
    assert not set(out) & {"\x1b", "\x07", "\r", "\u202e"}


def test_a_table_shows_what_a_line_shows(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(FOREIGN, title=FOREIGN)
    table.add_row(FOREIGN)
    assert printed(table, capsys).count(SHOWN) == 3


def test_json_says_what_it_said_and_commands_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = {FOREIGN: "\x9b31m \ud800 \x7f Größe"}
    print_json(said)
    out = capsys.readouterr().out
    assert json.loads(out) == said
    assert "Größe" in out
    assert not set(out) & {"\x1b", "\x07", "\x7f", "\x9b", "\u202e", "\ud800"}


def test_an_answer_that_looks_like_markup_is_shown(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_root(tmp_path, base)
    answer = Answer(1, 0, {"base": "[/INST] [bold", "effective": "\x1b[2J[/]"})
    monkeypatch.setattr("nodes.serving.ask.answer_from", lambda *_: answer)
    result = CliRunner().invoke(banyan, ["ask", "/", "words", "--nodes", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "[/INST] [bold" in result.stdout
    assert r"\x1b[2J[/]" in result.stdout


def test_letters_of_every_language_stay() -> None:
    text = "Größe, 心臓, قلب, नमस्ते 👩‍⚕️\n\tend"
    assert visible(text) == text
    assert visible("name\udcff") == r"name\udcff"
    assert in_one_line("one\n two\tthree") == "one two three"


def failing(error: BaseException) -> typer.Typer:
    """A command line of one command, which fails so."""
    app = typer.Typer()

    @app.callback()
    def for_all(debug: bool = False) -> None: ...

    @app.command("fail")
    def fail() -> None:
        with one_sentence():
            raise error

    return app


ERRORS = [
    (NodeError("no-node", "There is [none].\nNone."), "no-node: There is [none]. None."),
    (FileNotFoundError(errno.ENOENT, "No such file", "a\nb"), "no-file: a b: No such file."),
    (PermissionError(errno.EACCES, "Permission denied", "x"), "no-permission: x: Perm"),
    (OSError(errno.EROFS, "Read-only file system", "x"), "read-only: x: Read-only"),
    (OSError(errno.ENOSPC, "No space left on device"), "disk-full: The system refused"),
    (OSError("Error no file named\nmodel.safetensors"), "internal-error: Banyan made"),
    (MemoryError(), "no-memory: "),
    (sqlite3.DatabaseError("malformed"), "broken-database: "),
    (zipfile.BadZipFile("no zip"), "bad-zip: "),
    (json.JSONDecodeError("Expecting value", "{", 1), "bad-json: "),
    (UnicodeDecodeError("utf-8", b"\xe9", 0, 1, "invalid"), "bad-text: "),
    (KeyError("x\x1b"), "internal-error: Banyan made a mistake: KeyError: 'x\\x1b'. "),
]


@pytest.mark.parametrize(("error", "line"), ERRORS, ids=lambda value: type(value).__name__)
def test_every_error_is_one_sentence(error: Exception, line: str) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(line)


def test_an_error_of_a_library_names_the_library(tmp_path: Path) -> None:
    from safetensors import safe_open

    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(Exception) as caught:
        safe_open(tmp_path / "model.safetensors", "pt")
    code, sentence = explained(caught.value)
    assert (code, sentence.partition(" ")[0]) == ("library-error", "safetensors")


def test_with_debug_an_error_comes_through() -> None:
    error = KeyError("x")
    assert CliRunner().invoke(failing(error), ["--debug", "fail"]).exception is error


def test_what_fails_outside_of_a_command_is_one_sentence_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nodes.daemon", None)  # its import fails
    result = CliRunner().invoke(banyan, ["node", "run", "--node", "nowhere"])
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("internal-error: ")
    monkeypatch.setenv("BANYAN_DEBUG", "1")
    result = CliRunner().invoke(banyan, ["node", "run", "--node", "nowhere"])
    assert isinstance(result.exception, ImportError)


def test_ctrl_c_ends_a_command_as_ever() -> None:
    result = CliRunner().invoke(failing(KeyboardInterrupt()), ["fail"])
    assert (result.exit_code, result.stderr) == (130, "")


SPEAK = """
from nodes.cli import app
from nodes.cli.output import console, print_json

@app.app.command("speak")
def speak(json: bool = False) -> None:
    if json:
        print_json({"name": "Größe → \\udcff"})
    else:
        console.print("Größe → end")

app.main()
"""


@pytest.mark.parametrize(
    ("words", "shown"), [((), "Gr??e ? end"), (("--json",), '"Gr\\u00f6\\u00dfe')]
)
def test_a_terminal_that_lacks_a_letter_gets_another(words: tuple[str, ...], shown: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPEAK, "speak", *words],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert shown in done.stdout.decode("ascii")
