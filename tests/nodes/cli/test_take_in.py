"""``banyan node take-in``, and that what a child shared is forgotten when it withdraws."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.config.files import load_config
from nodes.learning.corpus import StoredCorpus
from nodes.text.files import write_texts
from tests.nodes.toy import Member, Tree, tree

SHARED = [f"what the clinic shared number {i}" for i in range(60)]
OWN = [f"what the operator put there number {i}" for i in range(60)]


@pytest.fixture
def network(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member]]:
    """A root with a clinic below it, and files with text."""
    with tree(tmp_path, base) as made:
        root = made.root()
        root.toy.target = np.ones(root.node.size, np.float32)
        made.child(root, "clinic", "/", root.toy.target)
        write_texts(tmp_path / "shared.jsonl", SHARED)
        write_texts(tmp_path / "own.jsonl", OWN)
        yield made, root


def run(made: Tree, *words: str) -> tuple[int, str]:
    """The exit status and the output of ``banyan node …`` for the root."""
    files = [str(made.folder / w) if w.endswith(".jsonl") else w for w in words]
    result = CliRunner().invoke(app, ["node", *files])
    return result.exit_code, result.output


def take_in(made: Tree, *words: str) -> dict[str, Any]:
    code, output = run(made, "take-in", *words, "--node", str(made.folder / "root"), "--json")
    assert code == 0, output
    found: dict[str, Any] = json.loads(output)
    return found


def training(root: Member) -> set[str]:
    config = load_config(root.node.home.folder / "node.toml")
    texts = StoredCorpus(root.node.home, config, root.node.clock).to_rehearse()
    return {text for of in texts.values() for text in of}


def test_a_parent_takes_in_what_its_operator_gives_and_what_a_child_shares(
    network: tuple[Tree, Member],
) -> None:
    made, root = network
    taken = take_in(made, "own.jsonl", "--source", "heart")
    assert (taken["files"]["added"], taken["watched"]) == (60, None)
    take_in(made, "shared.jsonl", "--source", "heart", "--child", "clinic")
    assert take_in(made, "shared.jsonl", "--source", "heart", "--child", "clinic")["files"][
        "known"
    ] == len(SHARED)
    known = training(root)  # old at once: nobody learns here
    assert known & set(SHARED)
    assert known & set(OWN)


def test_status_tells_how_much_text_there_is(network: tuple[Tree, Member]) -> None:
    made, root = network
    take_in(made, "own.jsonl", "--source", "heart")
    _, output = run(made, "status", "--node", str(made.folder / "root"), "--json")
    text = json.loads(output)["text"]
    assert sum(part["heart"]["documents"] for part in text.values()) == 60
    assert text["training"]["heart"]["documents"] == len(training(root))
    assert "text: training" in run(made, "status", "--node", str(made.folder / "root"))[1]


def test_a_watched_folder_is_scanned_on_demand(network: tuple[Tree, Member]) -> None:
    made, root = network
    inbox = made.folder / "inbox"
    write_texts(inbox / "eye" / "a.jsonl", OWN)
    file = root.node.home.folder / "node.toml"
    file.write_text(file.read_text("utf-8").replace("[data]", f'[data]\nwatch = "{inbox}"'))
    assert take_in(made)["watched"]["added"] == 60
    assert training(root) <= set(OWN)


def test_withdrawing_forgets_what_the_child_shared_though_nothing_was_released(
    network: tuple[Tree, Member],
) -> None:
    made, root = network
    take_in(made, "shared.jsonl", "--source", "heart", "--child", "clinic")
    take_in(made, "own.jsonl", "--source", "heart")
    at = ("--node", str(made.folder / "root"), "--json")
    code, output = run(made, "withdraw", "clinic", *at)
    assert code == 0, output
    found = json.loads(output)
    assert (found["forgotten"], found["recomputed"]) == (60, [])
    assert training(root) <= set(OWN)
    assert run(made, "withdraw", "clinic", *at)[0] == 1


def test_withdrawing_a_contributor_forgets_its_text_too(network: tuple[Tree, Member]) -> None:
    made, root = network
    root.rounds()
    take_in(made, "shared.jsonl", "--source", "heart", "--child", "clinic")
    code, output = run(made, "withdraw", "clinic", "--node", str(made.folder / "root"))
    assert code == 0, output
    said = " ".join(output.split())
    assert "0 stored updates and 60 shared documents deleted" in said
    assert "1 stored updates stay" in said  # it alone made the release: they are the same bytes
    assert training(root) == set()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("own.jsonl",), "usage"),
        (("own.jsonl", "--source", "heart", "--child", "nobody"), "not-a-member"),
        (("gone.jsonl", "--source", "heart"), "no-text"),
    ],
)
def test_what_cannot_be_taken_in_is_one_sentence(
    network: tuple[Tree, Member], words: tuple[str, ...], code: str
) -> None:
    made, _ = network
    status, output = run(made, "take-in", *words, "--node", str(made.folder / "root"))
    assert status == 1
    assert code in output
