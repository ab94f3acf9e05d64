"""The interfaces of a model and of text that the roles of a node need.

Production computes with torch (``engine``) and reads the state folder (``corpus``). A simulation
gives something else in their place, so that thousands of nodes live in one process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from aggregation.replay import Portion
from nodes.config.sections import TrainingSettings
from nodes.model.probe import Probe
from nodes.state.vectors import Vector

if TYPE_CHECKING:
    from nodes.learning.lesson import Lesson
    from nodes.model.learned import Learned


class Engine(Protocol):
    """An engine that computes with the base and an effective model Θ, (d,) float32."""

    def losses(
        self, thetas: Sequence[Vector], probes: Mapping[str, Sequence[Probe]]
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Measure several effective models: for each, by source, one number for each probe."""
        ...

    def train(
        self,
        theta: Vector,
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        """Train a delta on top of ``theta`` on new texts and a portion of old ones by source."""
        ...

    def keep_loaded(self) -> AbstractContextManager[None]:
        """Keep the model in memory between computations, within the context."""
        ...


class Corpus(Protocol):
    """The text of one node."""

    @property
    def operators_probes(self) -> Mapping[str, Sequence[Probe]]:
        """The probes of the operator's files by source, in the order of the file."""
        ...

    def lesson(self, reads: int) -> Lesson:
        """Take in what is new; choose what a run that reads ``reads`` documents trains on."""
        ...

    def learned(self, ids: Iterable[str]) -> None:
        """Mark these fresh documents as learned from."""
        ...

    def to_rehearse(self) -> Mapping[str, Sequence[str]]:
        """Return all training text by source; nothing where there is no text."""
        ...

    def arrived_probes(self) -> Mapping[str, Mapping[str, Probe]]:
        """Return for each source id → text of the probes that arrived in the node's buffer."""
        ...

    def retire(self, ids: Iterable[str]) -> None:
        """Retire these probes, which were used at many gates: others come first."""
        ...
