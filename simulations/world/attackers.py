"""Malicious devices of a simulated tree: the attack library at work in a whole network.

The attackers below one parent act as one. They know the chain, the pipeline and what every honest
sibling will send: the strongest attacker of the literature (``simulations.attacks``). Each is
enrolled, holds a key and answers like any device; only what it sends is not what it learned.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aggregation import AggregationError, Pipeline, Updates
from nodes.child.offer import Offer
from nodes.config.sections import NodeConfig, RoundSettings
from nodes.state.node import Node
from protocol import PayloadFormat, Task, encode_delta
from protocol.tensors import write_tensors
from simulations.attacks import ATTACKS, Knowledge
from simulations.attacks.knowledge import Rows
from simulations.experiment.settings import Attack
from simulations.world.places import Place, Places
from simulations.world.problems import Problem, Vector, seed_of

_KEPT = 64
"""Rounds whose rows are remembered, for who is asked again."""


@dataclass
class Colluders:
    """The attackers below one parent."""

    attack: Attack
    places: Places
    problem: Problem
    parent: int
    seed: int
    rounds: RoundSettings
    _rows: OrderedDict[tuple[int, bytes], Rows] = field(default_factory=OrderedDict)
    _honest: Rows | None = None

    def row(self, place: Place, theta: Vector, config: NodeConfig, number: int) -> Vector:
        """(d,): what one of them sends in a round that starts from the chain Θ."""
        key = (number, theta.tobytes()[:64])
        if key not in self._rows:
            self._rows[key] = self._agree(theta, config, number)
            if len(self._rows) > _KEPT:
                self._rows.popitem(last=False)
        here = [p for p in self.places if p.parent == self.parent and p.attacker]
        row: Vector = self._rows[key][here.index(place)]
        return row

    def _agree(self, theta: Vector, config: NodeConfig, number: int) -> Rows:
        siblings = [p for p in self.places.devices if p.parent == self.parent]
        training = config.training
        honest = np.stack(
            [
                self.problem.honest(p, theta, training, training.seed + number)
                for p in siblings
                if not p.attacker
            ]
        )
        known = Knowledge(
            honest=honest,
            count=len(siblings) - len(honest),
            rng=np.random.default_rng((seed_of(self.seed, "attack", self.parent), number)),
            aggregate=self._pipeline(len(siblings)),
            previous=honest if self._honest is None else self._honest,
        )
        self._honest = honest
        attack: Callable[..., Rows] = ATTACKS[self.attack.name]
        strength = self.attack.strength
        return attack(known) if strength is None else attack(known, strength)

    def _pipeline(self, members: int) -> Callable[[Rows], Rows]:
        """The parent's own, as far as an attacker can know it."""
        run, f = Pipeline.parse(self.rounds.pipeline), self.rounds.policy().tolerates(members)

        def aggregate(rows: Rows) -> NDArray[np.float32]:
            try:
                return run(Updates(rows), f).vector
            except AggregationError:  # not finite: the parent would refuse it
                return np.zeros(rows.shape[1], np.float32)

        return aggregate


class ColludingOffers:
    """The offers of a device that sends what it and its siblings agreed on."""

    def __init__(self, place: Place, colluders: Colluders, node: Node, config: NodeConfig) -> None:
        self._place, self._colluders, self._node, self._config = place, colluders, node, config

    def offer(self, task: Task) -> Offer:
        """Offer the device's row of what the attack makes of this round."""
        theta = self._node.ancestors_total()
        row = self._colluders.row(self._place, theta, self._config, task.round)
        return Offer(row, task.version, 1, 1)


def encode_anything(delta: Vector, form: PayloadFormat) -> bytes:
    """Write a payload as ``encode_delta`` does, and what no honest node can: NaN and infinity."""
    if np.isfinite(delta).all():
        return encode_delta(delta, form)
    if form is PayloadFormat.FLOAT32:
        return write_tensors({"theta": delta})
    blocks = -(-delta.size // 256)
    scale = np.full(blocks, np.inf, np.float32)
    return write_tensors({"q": np.ones(delta.size, np.int8), "scale": scale})


def colluders_below(
    attack: Attack, places: Places, problem: Problem, seed: int, rounds: RoundSettings
) -> dict[int, Colluders]:
    """Of every parent with attackers, by its number, those below it."""
    parents = {p.parent for p in places if p.attacker and p.parent is not None}
    return {
        parent: Colluders(attack, places, problem, parent, seed, rounds)
        for parent in sorted(parents)
    }
