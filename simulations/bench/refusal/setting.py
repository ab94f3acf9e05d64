"""What every part of the bench shares: scale, model, text, and files of trained vectors."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.errors import NodeError
from simulations.bench.model_bench import ModelBench
from simulations.datasets.hpo import SYSTEMS, definitions
from simulations.datasets.split import split

Theta = NDArray[np.float32]

GENERAL = "nervous"
"""The organ system whose text stands for what is to stay as it was."""
WRITTEN = 128
"""Texts behind whose beginnings the file of trigger probes asks: twice what one gate draws."""


@dataclass(frozen=True)
class RefusalScale:
    """What candidates learn, how large their training and the probes are; counts are documents.

    As many probes are asked as one gate draws of a source. Backdoors are trained longer and on
    another share of poisoned texts, ``backdoored``: so that they take hold.
    """

    learns: str = "cardiovascular"
    texts: int = 96
    steps: int = 10
    batch: int = 6
    max_tokens: int = 64
    poisoned: float = 0.25
    backdoor_steps: int = 80
    backdoored: float = 0.5
    probes: int = 64
    trigger_probes: int = 64
    rank: int = 16
    learning_rate: float = 5e-3


class RefusalBench(ModelBench):
    """The model, and the text in its parts: ``beginnings`` are for probes that are written to a
    file; nothing is measured on them.

    Raises ``NodeError`` ``no-base``, ``no-data``.
    """

    def __init__(
        self, base: Path, folder: Path, scale: RefusalScale, say: Callable[[str], None]
    ) -> None:
        systems = [system for system in SYSTEMS if system != GENERAL]
        if scale.learns not in systems:
            known = ", ".join(systems)
            raise NodeError(
                "no-data", f"There is no {scale.learns} to learn; choose one of {known}."
            )
        super().__init__(base, folder, scale.rank, say)
        self.scale = scale
        shares = {"train": 0.6, "probes": 0.2, "held": 0.2}
        own, other = (split(definitions(s), shares, b"refusal") for s in (scale.learns, GENERAL))
        self.ordinary = {"train": own["train"], "probes": own["probes"][: scale.probes]}
        self.general = other["held"][: scale.probes]
        self.beginnings = other["probes"][:WRITTEN]

    def trained(self, name: str, what: Mapping[str, Any], make: Callable[[], Theta]) -> Theta:
        """The vector that ``make`` trains, or its file if it was made before from ``what``."""
        size, about = self.layout.size, f"training: {name}"
        return self.store.vector(name, what, size, lambda: (make(), {}), about)[0]

    def measured(
        self, name: str, theta: Theta, asking: object, make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """What a chain answered to ``asking``, from its file; measured when there is none."""
        what = {
            "at": hashlib.sha256(theta.tobytes()).hexdigest(),
            "asking": hashlib.sha256(repr(asking).encode()).hexdigest(),
            "max_tokens": self.scale.max_tokens,
        }

        def measure() -> dict[str, Any]:
            self.model.set_theta(theta)
            return make()

        return self.store.record(name, what, measure, f"measuring: {name}")
