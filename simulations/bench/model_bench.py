"""The base that a long bench trains and measures, beside a store of what came of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from nodes.model.base import load_base
from nodes.model.basis import draw_basis
from nodes.model.coordinates import DEFAULT_TARGETS
from nodes.model.digest import describe_base
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout
from simulations.store import ResultStore


class ModelBench:
    """A base in the coordinates of one rank, with a store for what is made of it.

    Raises ``NodeError`` ``no-base``.
    """

    def __init__(self, base: Path, folder: Path, rank: int, say: Callable[[str], None]) -> None:
        self._base = base
        self.layout = Layout.of_model(load_base(base)[0], DEFAULT_TARGETS, rank)
        self.store = ResultStore(folder, [describe_base(base).digest, self.layout.digest], say)

    @cached_property
    def model(self) -> EffectiveModel:
        """Loaded when something is still to be computed."""
        return EffectiveModel(self._base, self.layout, draw_basis(self.layout, 0))
