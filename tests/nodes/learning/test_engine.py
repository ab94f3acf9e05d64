"""A node computes with the base that its network names, and with no other."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nodes.config.sections import ModelSettings
from nodes.errors import NodeError
from nodes.learning.engine import TorchEngine
from nodes.machine.clock import SystemClock
from nodes.model.coordinates import Coordinates, coordinates_of
from nodes.model.digest import describe_base
from nodes.state.home import Home
from nodes.trust.network import init_network
from tests.nodes.conftest import TEXTS


def network(folder: Path, coordinates: Coordinates) -> Home:
    return init_network(folder, "test", coordinates, SystemClock())


def measure(home: Home, base: Path) -> None:
    """One measurement of the bare base."""
    engine = TorchEngine(home, ModelSettings(base=base, dtype="float32"), threading.Event())
    (losses,) = engine.losses([np.zeros(home.layout.size, np.float32)], {"all": TEXTS})
    assert np.isfinite(losses["all"]).all()


def test_another_rotation_of_positions_is_another_base(base: Path, tmp_path: Path) -> None:
    home = network(tmp_path / "root", coordinates_of(base, rank=4))
    measure(home, base)
    other = shutil.copytree(base, tmp_path / "other")
    config = json.loads((other / "config.json").read_text("utf-8"))
    config["rope_parameters"]["rope_theta"] = 500.0
    (other / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(NodeError) as e:
        measure(home, other)
    assert e.value.code == "wrong-base"


def test_a_network_from_before_goes_on_with_its_base(base: Path, tmp_path: Path) -> None:
    drawn = coordinates_of(base, rank=4)
    named, tokenizer = describe_base(base).earlier
    home = network(tmp_path / "root", replace(drawn, base=named, tokenizer=tokenizer))
    measure(home, base)
    other = shutil.copytree(base, tmp_path / "other")
    path = other / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(NodeError) as e:
        measure(home, other)
    assert e.value.code == "wrong-base"
