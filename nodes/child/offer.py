"""The offers of a child to its parent: what a device learned, or what an interior node gathered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.learning.training import NOTHING_NEW, Learner, Learning
from nodes.state.events import Trained
from nodes.state.node import Node
from nodes.state.records import ZERO
from nodes.state.vectors import Vector
from protocol import Digest, Task


@dataclass(frozen=True)
class Offer:
    """A delta ready to send, (d,) float32, and its origin.

    ``started`` is the parent's version it started from. A node with an adapter of its own also
    names the copy s of it that the delta leads to, and its own version at that time.
    """

    delta: Vector
    started: int
    samples: int
    contributors: int
    copy: Digest = ZERO
    version: int = 0


class OfferSource(Protocol):
    """The interface of a source of answers to a parent's tasks."""

    def offer(self, task: Task) -> Offer:
        """Make the offer for a round.

        Raises ``NodeError`` when there is none, with the reason to abstain by.
        """
        ...


class LearnedOffers:
    """A device's offers: it trains once for each round, also when asked again after a crash.

    It does not train on unchanged text from the state from which it did before, once its parent has
    judged what came of that, unless the parent insists.

    A plain device starts each round from the chain and sends what it learned on top. A personal one
    goes on from its own adapter and sends all that its parent has not counted yet.
    """

    def __init__(self, node: Node, learner: Learner, *, personal: bool) -> None:
        self._node, self._learner, self._personal = node, learner, personal

    def offer(self, task: Task) -> Offer:
        """Train, unless that was done for this round, and offer what was learned."""
        node = self._node
        trained = node.state.offers.trained
        learning = None
        if trained is None or trained.round != task.round:
            is_judged = (
                trained is not None
                and trained.started == task.version
                and trained.round <= task.judged
            )
            learning = self._learner.learn(task, only_if_new=is_judged)
            trained = learning.event
        if self._personal:
            return self._uncounted(task, trained, learning)
        delta = learning.delta if learning else node.vector(trained.delta)
        return Offer(delta, trained.started, trained.samples, 1)

    def _uncounted(self, task: Task, trained: Trained, learning: Learning | None) -> Offer:
        """Offer all that the device's own adapter has and its parent has not counted."""
        with self._node.lock:
            own, baseline = self._node.state.own, self._node.state.offers.baseline
            still_held = own.adapter == trained.adapter  # no new chain displaced it since
            adapter = (
                learning.adapter if learning and still_held else self._node.vector(own.adapter)
            )
            delta = adapter - self._node.vector(baseline)
            return Offer(delta, task.version, trained.samples, 1, own.adapter, own.version)


class GatheredOffers:
    """An interior node's offers: what its children's rounds added since the parent counted it."""

    def __init__(self, node: Node, config: NodeConfig) -> None:
        self._node, self._config = node, config

    def offer(self, task: Task) -> Offer:
        """Offer δ = s - b, if enough has changed since the baseline (DESIGN section 4).

        Raises ``NodeError``: ``not-enough-change``, ``nothing-new`` when the parent has judged this
        very offer.
        """
        node, promotion = self._node, self._config.promotion
        with node.lock:
            state = node.state
            copy, version = state.own.adapter, state.own.version
            delta = node.vector(copy) - node.vector(state.offers.baseline)
            contributors = state.offers.contributors()
            waited_ms = node.clock.now_ms() - state.offers.baseline_ms
            judged = any(
                (sent.copy, sent.version) == (copy, version) and sent.round <= task.judged
                for sent in state.offers.sent.values()
            )
        f = self._config.rounds.policy().tolerates(len(node.state.membership.active))
        size, whole = np.linalg.norm(delta), np.linalg.norm(node.effective())
        ripe = contributors >= max(1, 2 * f + 1) and size >= promotion.least_change * whole
        overdue = waited_ms >= promotion.after_s * 1000 and size > 0
        if contributors == 0 or not (ripe or overdue):
            raise NodeError(
                "not-enough-change",
                f"Since the baseline {contributors} children contributed and the adapter moved by "
                f"{size:.3g} of {whole:.3g}; it is not yet time to promote.",
            )
        if judged:
            raise NodeError(
                NOTHING_NEW, "Nothing was added since the parent judged what this node gathered."
            )
        return Offer(delta, task.version, 0, contributors, copy, version)
