"""How a command finds its node and a child of it, and what the names of before still do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.state.node import Node
from tests.nodes.network import add_child, make_root, peer


@pytest.fixture
def root(tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with two devices beside it; the current folder is the one above them."""
    folder = make_root(tmp_path / "nodes" / "root", base)
    for name in ("one", "two"):
        add_child(folder, tmp_path / "nodes" / name, base)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def opened_root(root: Path) -> Iterator[Node]:
    here = peer(root)
    yield here.node
    here.close()


def banyan(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def node_of(*words: str) -> str:
    """The node whose status the command line shows."""
    result = banyan("node", "status", "--json", *words)
    assert result.exit_code == 0, result.stderr
    return str(json.loads(result.stdout)["node"])


def code_of(result: Result) -> str:
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    return result.stderr.partition(":")[0]


def test_a_node_is_named_by_its_folder_its_node_toml_or_its_scope(root: Path) -> None:
    by_folder = node_of("--node", "nodes/root")
    assert by_folder == peer(root).id
    assert node_of("--node", "nodes/root/node.toml") == by_folder
    assert node_of("--node", "/") == by_folder  # not one of the devices of the scope
    assert node_of("--node", "/", "--nodes", "nodes") == by_folder


def test_the_folder_of_a_node_is_the_default_and_else_the_only_node_below(
    root: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_folder = node_of("--node", "nodes/root")
    assert node_of("--nodes", "nodes/root") == by_folder
    monkeypatch.chdir(root)
    assert node_of() == by_folder
    lone = make_root(root.parent.parent / "elsewhere" / "lone", base)
    monkeypatch.chdir(lone.parent)
    assert node_of() == peer(lone).id != by_folder


def test_several_nodes_are_listed_rather_than_guessed_at(root: Path, base: Path) -> None:
    result = banyan("node", "status")
    assert code_of(result) == "many-nodes"
    assert "nodes/root" in result.stderr
    make_root(root.parent / "other", base)
    assert code_of(banyan("node", "status", "--node", "/")) == "many-nodes"


@pytest.mark.parametrize(
    "words",
    [("--node", "/fr"), ("--node", "nodes"), ("--node", "nowhere"), ("--nodes", "nowhere")],
)
def test_a_node_that_is_not_there_is_one_sentence(root: Path, words: tuple[str, ...]) -> None:
    assert code_of(banyan("node", "status", *words)) == "no-node"


def test_a_configuration_apart_from_its_state_is_followed(root: Path) -> None:
    apart = root.parent.parent / "apart.toml"
    text = (root / "node.toml").read_text("utf-8")
    apart.write_text(f'state = "nodes/root"\n{text}', "utf-8")
    assert node_of("--node", "apart.toml") == peer(root).id


@pytest.mark.parametrize("child", ["", "o", "on", "tw", "clinic"])
def test_part_of_a_name_and_no_name_at_all_revoke_nobody(
    opened_root: Node, root: Path, child: str
) -> None:
    assert code_of(banyan("node", "revoke", child, "--node", "nodes/root")) == "not-a-member"
    opened_root.catch_up()
    assert len(opened_root.state.membership.active) == 2


@pytest.mark.parametrize(("characters", "status"), [(1, 1), (5, 1), (6, 0), (64, 0)])
def test_an_id_is_named_by_at_least_six_characters(
    opened_root: Node, root: Path, characters: int, status: int
) -> None:
    member = opened_root.state.membership.active[0]
    result = banyan("node", "revoke", member[:characters], "--node", "nodes/root")
    assert result.exit_code == status, result.stderr
    opened_root.catch_up()
    assert opened_root.is_revoked(member) == (status == 0)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("node", "status", "nodes/root"), "nodes/root is called --node nodes/root now."),
        (("node", "verify", "nodes/root"), "nodes/root is called --node nodes/root now."),
        (("node", "history", "/", "--nodes", "nodes"), "/ is called --node / now."),
        (("node", "revoke", "one", "--at", "nodes/root"), "--at is called --node now."),
        (("node", "revoke", "one", "--at=/"), "--at is called --node now."),
        (("node", "withdraw", "one", "--from", "nodes/root"), "--from is called --node now."),
    ],
)
def test_former_names_still_work_and_say_what_they_are_called_now(
    root: Path, words: tuple[str, ...], line: str
) -> None:
    result = banyan(*words)
    assert result.stderr.splitlines()[0] == line
    assert result.exit_code == 0 or "nothing-to-withdraw" in result.stderr


def test_former_names_are_in_no_help() -> None:
    for command in ("run", "status", "revoke", "withdraw", "enrol"):
        text = banyan("node", command, "--help").stdout
        assert "--node" in text
        assert not any(former in text for former in ("--at", "--from", "--config"))


def test_a_node_named_twice_is_a_usage_error(root: Path) -> None:
    assert banyan("node", "status", "nodes/root", "--node", "nodes/root").exit_code == 2


def test_a_child_enrols_from_a_request_and_programs_read_where_the_files_are(
    root: Path, base: Path
) -> None:
    made = banyan("node", "request", "nodes/new", "--scope", "/", "--device", "--json")
    request = json.loads(made.stdout)["request"]
    at_parent = ("--node", "/", "--address", "127.0.0.1:1", "--json")
    signed = banyan("node", "enrol", "--request", request, "--out", "new.bundle", *at_parent)
    bundle = json.loads(signed.stdout)["bundle"]
    joined = banyan("node", "join", "nodes/new", bundle, "--base", str(base), "--json")
    assert json.loads(joined.stdout)["node"] == peer(root.parent / "new").id
    assert code_of(banyan("node", "join", "x", "gone.bundle", "--base", ".")) == "no-bundle"


def test_asking_prefers_the_node_of_the_scope_and_takes_a_device_by_name(root: Path) -> None:
    asked = ("ask", "/", "words", "--nodes", "nodes", "--tokens", "1", "--json")
    result = banyan(*asked)
    assert code_of(result) == "no-release"  # of the root: it never ran
    assert code_of(banyan(*asked, "--node", "nodes/one")) == "no-release"
    assert code_of(banyan("ask", "/en", "words", "--node", "nodes/one")) == "no-scope"
    assert "--from is called --nodes now." in banyan("ask", "/", "words", "--from", "nodes").stderr
