"""One round of training at a device: which text, from where, and how much of it is kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import structlog

from aggregation.gate import Losses, choose_step
from nodes.config.sections import TrainingSettings
from nodes.errors import NodeError
from nodes.learning.interfaces import Corpus, Engine
from nodes.learning.trials import Judged, Probes
from nodes.state.event_codec import write
from nodes.state.events import Trained
from nodes.state.node import Node
from nodes.state.vectors import Vector, sum_of
from protocol import Task

log = structlog.get_logger()

NOTHING_NEW = "nothing-new"
"""The reason to abstain of a child that would send again what its parent has judged."""


@dataclass(frozen=True, eq=False)
class Learning:
    """The result of one round of training; vectors are (d,) float32.

    Attributes:
        event: as the ledger keeps it.
        delta: what was learned.
        adapter: what the device holds of its own afterwards; zero at a plain device.
    """

    event: Trained
    delta: Vector
    adapter: Vector


class Learner:
    """The trainer of one device on its own text."""

    def __init__(
        self, node: Node, training: TrainingSettings, engine: Engine, corpus: Corpus, probes: Probes
    ) -> None:
        self._node, self._training, self._engine = node, training, engine
        self._corpus, self._probes = corpus, probes

    def learn(self, task: Task, *, only_if_new: bool = False) -> Learning:
        """Train for one round and record what came of it.

        A crash between the record and the buffer's note of it trains on the same text once more,
        in another round; none is skipped.

        Args:
            only_if_new: train only if there is text that was not learned from.

        Raises ``NodeError`` ``no-data`` where there is no text to train on, ``nothing-new`` where
        all of it was learned from.
        """
        node, training = self._node, self._training
        reads = training.steps * training.batch_size
        lesson = self._corpus.lesson(reads)
        if not lesson.documents:
            raise NodeError("no-data", "This device has no text to train on.")
        if only_if_new and not lesson.fresh:
            raise NodeError(
                NOTHING_NEW, "No text is new since the parent judged what this device learned."
            )
        learned = self._engine.train(
            node.effective(),
            list(lesson.fresh.values()),
            training,
            training.seed + task.round,
            lesson.old,
            lesson.portion,
        )
        personal = training.mode == "personal"
        judged = self._judge(learned.delta) if personal else None
        with node.lock:
            adapter = node.vector(node.state.own.adapter)
            if judged:
                adapter = (adapter + judged.share * learned.delta).astype(np.float32)
            event = Trained(
                round=task.round,
                delta=node.keep(learned.delta),
                started=task.version,
                samples=min(lesson.documents, reads),
                measured=lesson.measured(learned, judged.share if judged else None),
                adapter=node.keep(adapter) if judged else None,
            )
            node.record(event)
        if judged:
            judged.remember()
        ids = list(lesson.fresh)
        self._corpus.learned(ids[place] for place in learned.seen)
        log.info("trained", **write(event)[1])
        return Learning(event, learned.delta, adapter)

    def _judge(self, delta: Vector) -> Judged:
        """Choose how much of what was learned to keep: the step that is best on the node's own
        probes."""
        if not self._probes:
            return Judged(1.0)
        with self._probes.trial(counted=False) as trial:

            def measure(step: float) -> Losses:
                return trial.measure(sum_of([trial.effective, step * delta]))

            def forgets(losses: Losses) -> bool:
                return trial.forgets(losses, self._training.tolerance)

            chosen = choose_step(measure, forgets)
            if chosen is None:
                return Judged(0.0, trial)
            theta = sum_of([trial.effective, chosen.size * delta])
            return Judged(chosen.size, trial, theta, chosen.losses)
