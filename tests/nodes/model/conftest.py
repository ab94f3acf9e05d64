"""The tiny base with adapters."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodes.model.basis import draw_basis
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout

TARGETS = ("q_proj", "v_proj")


@pytest.fixture
def model(base: Path) -> EffectiveModel:
    """The tiny base with adapters of rank 8, in float32."""
    return load(base)


def load(base: Path, rank: int = 8, seed: int = 0) -> EffectiveModel:
    """An effective model on a base folder, in float32 whatever this machine would choose."""
    from nodes.model.base import load_base

    layout = Layout.of_model(load_base(base)[0], TARGETS, rank)
    return EffectiveModel(base, layout, draw_basis(layout, seed), dtype="float32")
