"""The tiny base with adapters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout

TARGETS = ("q_proj", "v_proj")


@pytest.fixture
def model(base: Path) -> EffectiveModel:
    """The tiny base with adapters of rank 8, in float32."""
    return load(base)


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base that a test may change."""
    return shutil.copytree(base, tmp_path / "base")


def split(folder: Path, leave_out: str = "") -> None:
    """Put a base's tensors into two shards and an index, as large bases come."""
    tensors = load_file(folder / "model.safetensors")
    tensors.pop(leave_out, None)
    names = sorted(tensors)
    places = {name: f"{'ab'[i % 2]}.safetensors" for i, name in enumerate(names)}
    for shard in ("a.safetensors", "b.safetensors"):
        held = {name: tensors[name] for name in names if places[name] == shard}
        save_file(held, folder / shard, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    (folder / "model.safetensors").unlink()


def load(base: Path, rank: int = 8, seed: int = 0) -> EffectiveModel:
    """An effective model on a base folder, in float32 whatever this machine would choose."""
    from nodes.model.base import load_base

    layout = Layout.of_model(load_base(base)[0], TARGETS, rank)
    return EffectiveModel(base, layout, draw_basis(layout, seed), dtype="float32")
