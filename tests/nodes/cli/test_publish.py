"""``banyan node publish``: a person releases an adapter from a file, and can take it back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.machine.clock import SystemClock
from nodes.model.coordinates import coordinates_of
from nodes.releases.publish import publish_by_hand
from nodes.releases.rollback import roll_back
from nodes.state.node import Node
from nodes.trust.network import init_network
from protocol import encode_adapter
from tests.nodes.toy import Member, Tree, Vector, tree


@pytest.fixture
def pair(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root and a device that is probed; both are best at a point."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        root.toy.target = target
        yield made, root, made.child(root, "device", "/", target, probed=True)


def theta(size: int, value: float = 0.25) -> Vector:
    return np.full(size, value, np.float32)


def run(folder: Path, *words: str) -> tuple[int, str]:
    """The exit status and the output of ``banyan node …``."""
    result = CliRunner().invoke(app, ["node", *words, "--nodes", str(folder)])
    return result.exit_code, " ".join(result.output.split())


def test_a_root_that_never_ran_starts_from_an_adapter(tmp_path: Path, base: Path) -> None:
    home = init_network(tmp_path / "root", "test", coordinates_of(base, rank=4), SystemClock())
    adapter = theta(home.layout.size)
    (tmp_path / "adapter.safetensors").write_bytes(encode_adapter(adapter))
    code, output = run(tmp_path, "publish", str(tmp_path / "adapter.safetensors"), "--node", "/")
    assert code == 0, output
    assert f"banyan node rollback --node {tmp_path / 'root'} --to 1" in output
    node = Node(home, SystemClock())
    try:
        np.testing.assert_array_equal(node.effective(), adapter)
        assert [e.body["kind"] for e in node.ledger.events(["released"])] == ["initial", "by-hand"]
    finally:
        node.close()


def test_the_tree_follows_it_and_a_rollback_takes_it_back(
    pair: tuple[Tree, Member, Member],
) -> None:
    made, root, device = pair
    root.rounds()
    before = root.node.effective()
    file = made.folder / "adapter.safetensors"
    file.write_bytes(encode_adapter(theta(root.node.size)))
    code, output = run(made.folder, "publish", str(file), "--node", "/", "--json")
    result = json.loads(output)
    assert (code, result["scope"], result["version"]) == (0, "/", 3)
    root.rounds()
    np.testing.assert_allclose(device.node.effective(), before + 0.25, atol=1e-6)
    entry = json.loads(run(made.folder, "history", "--node", "/", "--json")[1])[2]
    assert (entry["what"], entry["version"], entry["tries"]) == ("by-hand", 3, [])
    assert result["added"][:12] in entry["why"]
    code, output = run(made.folder, "rollback", "--node", "/", "--to", "2")
    assert code == 0, output
    root.close_round()
    root.rounds()
    np.testing.assert_allclose(device.node.effective(), before, atol=1e-6)


def test_what_is_best_counts_anew_from_it_until_it_is_taken_back(
    pair: tuple[Tree, Member, Member],
) -> None:
    """Otherwise the gate would hold candidates to a state that a person gave up."""
    made, root, device = pair
    made.child(root, "other", "/", device.toy.target)  # which follows whatever it does
    root.rounds()
    best = root.node.state.best
    publish_by_hand(root.node, encode_adapter(theta(root.node.size, -0.25)))
    assert (bool(best), root.node.state.best) == (True, {})
    root.close_round()
    root.rounds()
    assert root.node.state.best["all"] != best["all"]
    roll_back(root.node, 2)
    assert root.node.state.best == best


def test_the_same_adapter_is_not_added_twice_while_it_stands(
    pair: tuple[Tree, Member, Member],
) -> None:
    made, root, _ = pair
    file = made.folder / "adapter.safetensors"
    file.write_bytes(encode_adapter(theta(root.node.size)))
    words = ("publish", str(file), "--node", "/")
    assert run(made.folder, *words)[0] == 0
    code, output = run(made.folder, *words)
    assert code == 1
    assert "already-published" in output
    assert run(made.folder, "rollback", "--node", "/", "--to", "1")[0] == 0
    assert run(made.folder, *words)[0] == 0


def test_it_is_signed_and_changes_what_is_judged(pair: tuple[Tree, Member, Member]) -> None:
    _, root, _ = pair
    moves = root.node.state.moves
    publish_by_hand(root.node, encode_adapter(theta(root.node.size)))
    assert root.node.state.moves == moves + 1
    assert root.node.ledger.verify() > 0


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (encode_adapter(np.ones(5, np.float32)), "wrong-shape"),
        (b"no tensors at all", "bad-tensors"),
        (None, "no-adapter"),
    ],
    ids=["another size", "no tensors", "no file"],
)
def test_what_is_no_adapter_of_this_network_is_refused(
    pair: tuple[Tree, Member, Member], content: bytes | None, code: str
) -> None:
    made, root, _ = pair
    file = made.folder / "adapter.safetensors"
    if content is not None:
        file.write_bytes(content)
    status, output = run(made.folder, "publish", str(file), "--node", "/")
    assert status == 1
    assert code in output
    root.node.catch_up()
    assert root.node.state.own.version == 1


def test_an_adapter_that_is_not_finite_is_refused(pair: tuple[Tree, Member, Member]) -> None:
    made, root, _ = pair
    whole = bytearray(encode_adapter(theta(root.node.size)))
    whole[-4:] = np.float32(np.nan).tobytes()
    file = made.folder / "adapter.safetensors"
    file.write_bytes(whole)
    status, output = run(made.folder, "publish", str(file), "--node", "/")
    assert (status, "not-finite" in output) == (1, True)


def test_a_device_has_no_release_to_publish(pair: tuple[Tree, Member, Member]) -> None:
    made, root, device = pair
    file = made.folder / "adapter.safetensors"
    file.write_bytes(encode_adapter(theta(root.node.size)))
    folder = str(device.node.home.folder)
    status, output = run(made.folder, "publish", str(file), "--node", folder)
    assert (status, "no-scope" in output) == (1, True)
