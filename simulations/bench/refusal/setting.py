"""What every part of the bench shares: scale, model, text, and files of trained vectors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.errors import NodeError
from nodes.model.base import describe_base, load_base
from nodes.model.basis import draw_basis
from nodes.model.coordinates import DEFAULT_TARGETS
from nodes.model.effective import EffectiveModel
from nodes.model.layout import Layout
from protocol import decode_adapter, encode_adapter
from simulations.datasets.hpo import SYSTEMS, definitions
from simulations.datasets.split import split

Theta = NDArray[np.float32]

GENERAL = "nervous"
"""The organ system whose text stands for what is to stay as it was."""
WRITTEN = 128
"""Texts behind whose beginnings the file of trigger probes asks: twice what one gate draws."""


@dataclass(frozen=True)
class Scale:
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


@dataclass(frozen=True)
class Bench:
    """The model, the folder where trained vectors are kept, and the text in its parts.

    ``beginnings`` are texts for probes that are written to a file; nothing is measured on them.
    """

    model: EffectiveModel
    base: str
    out: Path
    scale: Scale
    say: Callable[[str], None]
    ordinary: Mapping[str, Sequence[str]]
    general: Sequence[str]
    beginnings: Sequence[str]

    def kept(self, name: str, what: Mapping[str, Any], make: Callable[[], Theta]) -> Theta:
        """The vector in the file named after what made it; made when there is none."""
        path = self._path(name, what, "safetensors")
        if not path.exists():
            self.say(f"training: {name}")
            _write(path, encode_adapter(make()))
        return decode_adapter(path.read_bytes(), self.model.layout.size)

    def measured(
        self, name: str, theta: Theta, asking: object, make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """What a chain answered to ``asking``, from its file; measured when there is none."""
        what = {
            "at": hashlib.sha256(theta.tobytes()).hexdigest(),
            "asking": hashlib.sha256(repr(asking).encode()).hexdigest(),
            "max_tokens": self.scale.max_tokens,
        }
        path = self._path(name, what, "json")
        if not path.exists():
            self.say(f"measuring: {name}")
            self.model.set_theta(theta)
            _write(path, json.dumps(make()).encode())
        result: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return result

    def _path(self, name: str, what: Mapping[str, Any], ending: str) -> Path:
        key = json.dumps([self.base, self.model.layout.digest, name, what], sort_keys=True)
        digest = hashlib.sha256(key.encode()).hexdigest()[:12]
        return self.out / f"{name.replace(' ', '-')}-{digest}.{ending}"


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(data)
    temporary.replace(path)


def prepare(base: Path, out: Path, scale: Scale, say: Callable[[str], None]) -> Bench:
    """Load the base and the text. Raises ``NodeError`` ``no-base``, ``no-data``."""
    systems = [system for system in SYSTEMS if system != GENERAL]
    if scale.learns not in systems:
        raise NodeError(
            "no-data", f"There is no {scale.learns} to learn; choose one of {', '.join(systems)}."
        )
    layout = Layout.of_model(load_base(base)[0], DEFAULT_TARGETS, scale.rank)
    shares = {"train": 0.6, "probes": 0.2, "held": 0.2}
    own, other = (split(definitions(s), shares, b"refusal") for s in (scale.learns, GENERAL))
    out.mkdir(parents=True, exist_ok=True)
    return Bench(
        model=EffectiveModel(base, layout, draw_basis(layout, 0)),
        base=describe_base(base).digest,
        out=out,
        scale=scale,
        say=say,
        ordinary={"train": own["train"], "probes": own["probes"][: scale.probes]},
        general=other["held"][: scale.probes],
        beginnings=other["probes"][:WRITTEN],
    )
