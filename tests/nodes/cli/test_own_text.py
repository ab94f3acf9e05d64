"""The text files named by commands end up in node.toml, or are refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.cli.own_text import own_text
from nodes.errors import NodeError


def test_files_become_a_section_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("notes.txt", "heart.txt", "lung.txt"):
        Path(name).write_text("one\ntwo\n", "utf-8")
    assert own_text([Path("notes.txt")], ["heart.txt", "lungs=lung.txt"]) == {
        "data": {
            "train": [tmp_path / "notes.txt"],
            "probes": {"heart": tmp_path / "heart.txt", "lungs": tmp_path / "lung.txt"},
        }
    }
    assert own_text(None, None) == {}


@pytest.mark.parametrize(
    ("texts", "probes", "code"),
    [
        (["absent.txt"], [], "no-text"),
        (["latin.txt"], [], "bad-text"),
        ([], ["heart=absent.txt"], "no-text"),
        ([], ["notes.txt", "other/notes.txt"], "usage"),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    texts: list[str],
    probes: list[str],
    code: str,
) -> None:
    (tmp_path / "notes.txt").write_text("one\n", "utf-8")
    (tmp_path / "latin.txt").write_bytes("caf\xe9\n".encode("latin-1"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NodeError) as error:
        own_text([Path(name) for name in texts], probes)
    assert error.value.code == code
