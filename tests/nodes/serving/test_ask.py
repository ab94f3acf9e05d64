"""``ask``: the base and the effective model of a state folder answer side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nodes.cli.app import app
from nodes.serving.held import held
from protocol import Role
from tests.nodes.conftest import TEXTS
from tests.nodes.toy import Member, Tree, Vector, tree


@pytest.fixture
def made(tmp_path: Path, base: Path) -> Iterator[Tree]:
    with tree(tmp_path, base) as made:
        yield made


def target(member: Member, value: float) -> Vector:
    return np.random.default_rng(3).normal(0, value, member.node.size).astype(np.float32)


def learned(made: Tree) -> tuple[Member, Member]:
    """A root and a personal device that learned something of its own."""
    root = made.root()
    device = made.child(root, "device", "/", target(root, 1.0), mode="personal")
    root.rounds()
    return root, device


def ask(device: Member, prompt: str = TEXTS[0]) -> dict[str, Any]:
    words = ["ask", "/", prompt, "--node", str(device.node.home.folder), "--json", "--tokens", "8"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.output[result.output.index("{\n") :])
    return answer


def test_a_personal_devices_own_adapter_takes_part(made: Tree) -> None:
    _, device = learned(made)
    assert device.node.vector(device.node.state.own.adapter).any()
    here = held(device.node.home)
    np.testing.assert_array_equal(here.theta, device.node.effective())
    assert here.learned == device.node.state.own.version == 1


def test_what_a_scope_holds_is_its_chain(made: Tree) -> None:
    root, _ = learned(made)
    middle = made.child(root, "en", "/en", None, role=Role.INTERIOR)
    here = held(root.node.home)
    np.testing.assert_array_equal(here.theta, root.node.effective())
    assert (here.version, here.learned) == (root.node.state.own.version, 0)
    assert middle.node.state.own.latest is None


def test_the_answer_names_the_version_and_what_the_device_learned(made: Tree) -> None:
    _, device = learned(made)
    answer = ask(device)
    assert (answer["version"], answer["learned"]) == (1, 1)
    assert answer["base"] != answer["effective"]
