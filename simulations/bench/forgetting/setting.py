"""What every sequence of the bench shares: the scale, the model, the text, and kept results."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.replay import ONLY_NEW, Portion
from nodes.model.learner import TrainingRun, train
from simulations.bench.model_bench import ModelBench
from simulations.datasets.hpo import definitions
from simulations.datasets.split import split
from simulations.store import digest

Theta = NDArray[np.float32]
Losses = Mapping[str, NDArray[np.float64]]

SHARES = {"train": 0.6, "probes": 0.2, "held": 0.2}
KEY = b"banyan bench forgetting"


@dataclass(frozen=True)
class ForgettingScale:
    """How much is learned and measured; ``probes`` and ``held`` count documents of each source."""

    systems: tuple[str, ...] = (
        "nervous",
        "cardiovascular",
        "eye",
        "immune",
        "genitourinary",
        "metabolism",
    )
    unseen: tuple[str, ...] = ("respiratory", "integument")
    steps: int = 50
    batch_size: int = 8
    learning_rate: float = 5e-3
    max_tokens: int = 128
    rank: int = 16
    probes: int = 40
    held: int = 32
    seed: int = 0


QUICK = ForgettingScale(
    systems=("nervous", "cardiovascular", "eye"),
    unseen=("respiratory",),
    steps=12,
    batch_size=4,
    learning_rate=2e-2,
    max_tokens=48,
    probes=12,
    held=16,
)
"""For the tiny base: the same code in seconds."""


@dataclass(frozen=True)
class State:
    """A state of a learner.

    Attributes:
        theta: Θ, (d,) float32.
        made: names everything that led to it.
        name: for a person.
        tokens: predicted in all training until then.
        read: of each source the texts that were read when it was learned.
    """

    theta: Theta
    made: str
    name: str
    tokens: int = 0
    read: Mapping[str, Sequence[str]] = field(default_factory=dict)


class ForgettingBench(ModelBench):
    """The model and the text, with every training and measurement kept in ``folder``.

    Raises ``NodeError`` ``no-base``, ``no-data``.
    """

    def __init__(
        self, base: Path, folder: Path, scale: ForgettingScale, say: Callable[[str], None]
    ) -> None:
        super().__init__(base, folder, scale.rank, say)
        self.scale = scale
        self.parts = {
            source: split(definitions(source), SHARES, KEY)
            for source in (*scale.systems, *scale.unseen)
        }

    @property
    def start(self) -> State:
        """The base alone."""
        return State(np.zeros(self.layout.size, np.float32), "base", "base")

    def train(self, at: State, source: str, portion: Portion = ONLY_NEW) -> State:
        """What comes of training on ``source``; of what ``at`` has read, a portion is replayed."""
        texts = self.parts[source]["train"]
        old = at.read if portion.share else {}

        def make() -> tuple[Theta, dict[str, Any]]:
            learned = train(self.model, at.theta, texts, self._training, old=old, portion=portion)
            record = asdict(learned)
            return record.pop("delta"), record

        text = digest([texts, {system: list(documents) for system, documents in old.items()}])
        what = [at.made, asdict(self._training), text, asdict(portion)]
        name, about = f"train {source}", f"train {source} after {at.name}"
        vector, record = self.store.vector(name, what, self.layout.size, make, about)
        return State(
            at.theta + vector,
            digest([name, what]),
            source,
            at.tokens + record["tokens"],
            {**at.read, source: [texts[i] for i in record["seen"]]},
        )

    def probe_losses(self, at: State, sources: Sequence[str]) -> Losses:
        """Of the probes of each source the losses (k,), nats per token."""
        measured = self._measured(at, "probes", self.scale.probes, sources)
        return {source: np.asarray(values["losses"]) for source, values in measured.items()}

    def held_losses(self, at: State, sources: Sequence[str]) -> dict[str, float]:
        """Of each source the mean loss of its held-out text, nats per token."""
        measured = self._measured(at, "held", self.scale.held, sources)
        return {
            source: float(np.average(values["losses"], weights=values["tokens"]))
            for source, values in measured.items()
        }

    def _measured(
        self, at: State, part: str, count: int, sources: Sequence[str]
    ) -> dict[str, dict[str, list[float]]]:
        texts = {source: self.parts[source][part][:count] for source in sources}

        def make() -> dict[str, Any]:
            self.model.set_theta(at.theta)
            together = [text for documents in texts.values() for text in documents]
            measured = self.model.sequence_losses(together, self.scale.max_tokens)
            ends = np.cumsum([len(documents) for documents in texts.values()])[:-1]
            losses, tokens = (np.split(values, ends) for values in measured)
            return {
                source: {"losses": losses[i].tolist(), "tokens": tokens[i].tolist()}
                for i, source in enumerate(texts)
            }

        about = f"measure {part} after {at.name}"
        return self.store.record(f"{part} losses", [at.made, digest(texts)], make, about)

    @property
    def _training(self) -> TrainingRun:
        names = ("steps", "batch_size", "learning_rate", "max_tokens", "rank", "seed")
        return TrainingRun(**{name: getattr(self.scale, name) for name in names})
