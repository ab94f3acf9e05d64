"""What a simulated network learns: its coordinates, its losses and its text.

A *problem* gives every node what it would have of its own: an engine to measure and train with, and
a corpus. Two are here. In the ``Points`` problem the model is a point and the loss quadratic with a
known optimum, so that ten thousand devices cost little; a "text" is a name from which a probe's
noise follows. ``simulations.world.texts`` has the one with a language model.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aggregation.replay import ONLY_NEW, Portion
from nodes.config.sections import NodeConfig, TrainingSettings
from nodes.learning.interfaces import Corpus, Engine
from nodes.learning.lesson import Lesson
from nodes.model.coordinates import Coordinates
from nodes.model.layout import Layer, Layout
from nodes.model.probe import Probe
from nodes.state.home import Home
from protocol import Role, digest_of
from simulations.world.places import Place, Places

if TYPE_CHECKING:
    from nodes.model.learned import Learned

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class Measured:
    """Of one scope on its own held-out data, nats per token: the loss of an effective model, of
    the base, and the least that any model can have, where that is known."""

    loss: float
    base: float
    best: float | None = None


class Problem(ABC):
    """What a network learns."""

    @property
    @abstractmethod
    def coordinates(self) -> Coordinates:
        """What the root ships."""

    @property
    @abstractmethod
    def layout(self) -> Layout:
        """Where everything lies in θ."""

    @abstractmethod
    def engine(self, place: Place, home: Home) -> Engine:
        """With what a node measures and trains."""

    @abstractmethod
    def corpus(self, place: Place, home: Home, config: NodeConfig) -> Corpus:
        """The text of a node."""

    @abstractmethod
    def held_out(self, place: Place, theta: Vector) -> Measured:
        """How good an effective model is for a scope, on what nobody trains on or gates with."""

    @property
    def training_mb(self) -> float:
        """Memory that a device needs to train, in MB: about what the model's weights take."""
        return 0.0

    @abstractmethod
    def honest(self, place: Place, theta: Vector, training: TrainingSettings, seed: int) -> Vector:
        """What a device would learn from the chain Θ, (d,): what an attacker knows of others."""


@dataclass(frozen=True)
class PointSettings:
    """A quadratic problem.

    Attributes:
        size: d.
        rank: R; d is a multiple of it.
        spread: how far children of one scope lie apart, in units of how far the tree's own
            optimum lies from zero. 0: all devices agree.
        noise: standard deviation of the paired difference of a probe's losses, in nats, for a
            step of root mean square 1.
        probes: probes of each source.
        seed: of all optima.
        fan_out: the tree in which domains lie, if it is not the network's own: its last number
            counts the devices of one domain, which are numbered through.
    """

    size: int = 256
    rank: int = 16
    spread: float = 0.5
    noise: float = 0.1
    probes: int = 64
    seed: int = 0
    fan_out: tuple[int, ...] | None = None


_MOST_NOISE = 1024
"""Owners of probes whose noise is kept in memory."""
FLOOR = 1.0
"""Nats that no model can get rid of."""
RATE = 0.1
"""By which a training step of learning rate 5e-3 goes towards the device's own optimum."""


class Points(Problem):
    """Every device has an optimum; losses are half the mean square of the distance to it, above a
    floor. What a scope is worth is the mean over the devices below it."""

    def __init__(self, places: Places, settings: PointSettings) -> None:
        self._settings, self._places = settings, places
        self._layout = Layout(
            (Layer("point", settings.size // settings.rank, settings.rank),), settings.rank
        )
        self._below = places.children()
        self._noise: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        self._optima = np.zeros((len(places), settings.size), np.float32)
        self._spread_below = np.zeros(len(places))
        self._draw()

    def _draw(self) -> None:
        """A device's optimum is the sum of something of every domain that it lies in. A scope's is
        the mean of those below it, and leaves the variance around it."""
        sums = np.zeros_like(self._optima, np.float64)
        squares, counts = np.zeros(len(self._places)), np.zeros(len(self._places))
        domains: dict[tuple[object, ...], Vector] = {}
        for number, device in enumerate(self._places.devices):
            lineage = self._lineage(number, device)
            parts = []
            for depth in range(len(lineage) + 1):
                of = lineage[:depth]
                if of not in domains:
                    domains[of] = self._own(of)
                parts.append(domains[of])
            parts.append(self._own((*lineage, "device", number)))
            optimum: NDArray[np.float64] = np.stack(parts).sum(axis=0, dtype=np.float64)
            at: int | None = device.id
            while at is not None:
                sums[at] += optimum
                squares[at] += optimum @ optimum
                counts[at] += 1
                at = self._places[at].parent
        there = counts > 0
        means = sums[there] / counts[there, None]
        self._optima[there] = means
        variances = squares[there] / counts[there] - np.einsum("ij,ij->i", means, means)
        self._spread_below[there] = np.maximum(variances, 0) / self._settings.size

    def _lineage(self, number: int, device: Place) -> tuple[object, ...]:
        """The domains that a device lies in, from the widest."""
        if self._settings.fan_out is None:
            return device.scope.segments
        digits: list[object] = []
        number //= self._settings.fan_out[-1]
        for width in reversed(self._settings.fan_out[:-1]):
            number, digit = divmod(number, width)
            digits.append(digit)
        return tuple(reversed(digits))

    def _own(self, domain: tuple[object, ...]) -> Vector:
        """(d,): by what a domain differs from the one it lies in."""
        s = self._settings
        rng = np.random.default_rng((s.seed, 1, seed_of(*domain)))
        own = rng.standard_normal(s.size, np.float32)
        return own if not domain else np.float32(s.spread) * own

    @cached_property
    def coordinates(self) -> Coordinates:
        """A network on a point: its base is nothing but its settings."""
        base = digest_of(repr(self._settings).encode())
        return Coordinates(
            base=base,
            tokenizer=base,
            layout=self._layout.to_json(),
            layout_digest=self._layout.digest,
            basis=b"the identity",
            rank=self._settings.rank,
            targets=("point",),
        )

    @property
    def layout(self) -> Layout:
        """One layer of d values."""
        return self._layout

    def engine(self, place: Place, home: Home) -> Engine:
        """Quadratic losses around this node's optimum."""
        return PointEngine(self, place, home.certificate.mask_rank)

    def corpus(self, place: Place, home: Home, config: NodeConfig) -> Corpus:
        """Names of probes: of each child scope, or of the scope itself where devices hang."""
        return PointCorpus(self.sources(place))

    def sources(self, place: Place) -> dict[str, list[str]]:
        """Of each source of a node's probes their names, which say whose they are."""
        if place.role is Role.DEVICE:
            return {}
        below = [self._places[c] for c in self._below.get(place.id, ())]
        owners = [c for c in below if c.role is not Role.DEVICE] or [place]
        count = self._settings.probes
        return {str(of.scope): [f"{of.id}:{k}" for k in range(count)] for of in owners}

    def optimum(self, number: int) -> Vector:
        """(d,) where the loss of a node is least."""
        optimum: Vector = self._optima[number]
        return optimum

    def losses(self, theta: Vector, names: Sequence[str]) -> NDArray[np.float64]:
        """(k,) nats: on each probe, whose optimum lies a little beside its owner's."""
        s = self._settings
        found = np.empty(len(names))
        by_owner: dict[int, list[int]] = {}
        for at, name in enumerate(names):
            by_owner.setdefault(int(name.partition(":")[0]), []).append(at)
        for owner, rows in by_owner.items():
            apart = theta.astype(np.float64) - self.optimum(owner)
            beside = self._beside(owner)[[int(names[at].partition(":")[2]) for at in rows]]
            scale = s.noise / np.sqrt(s.size)
            found[rows] = FLOOR + 0.5 * apart @ apart / s.size + scale * (beside @ apart)
        return found

    def _beside(self, owner: int) -> NDArray[np.float32]:
        """(probes, d) standard normal, always the same for one owner."""
        if owner not in self._noise:
            s = self._settings
            rng = np.random.default_rng((s.seed, 2, owner))
            self._noise[owner] = rng.standard_normal((s.probes, s.size), np.float32)
            if len(self._noise) > _MOST_NOISE:
                self._noise.popitem(last=False)
        return self._noise[owner]

    def held_out(self, place: Place, theta: Vector) -> Measured:
        """Without any noise, the mean over the devices below."""
        optimum = self.optimum(place.id).astype(np.float64)
        apart, size = theta - optimum, self._settings.size
        best = FLOOR + 0.5 * float(self._spread_below[place.id])
        return Measured(
            float(best + 0.5 * apart @ apart / size),
            float(best + 0.5 * optimum @ optimum / size),
            best,
        )

    def honest(self, place: Place, theta: Vector, training: TrainingSettings, seed: int) -> Vector:
        """Gradient descent from Θ towards the device's optimum, with the noise of few samples."""
        s = self._settings
        rate = RATE * training.learning_rate / TrainingSettings().learning_rate
        part = 1 - (1 - min(rate, 1.0)) ** training.steps
        noise = np.random.default_rng((s.seed, 3, place.id, seed)).standard_normal(s.size)
        towards = self.optimum(place.id) - theta + s.noise / np.sqrt(training.steps) * noise
        held = self._layout.mask_at(place.machine.rank)
        delta: Vector = (part * towards * held).astype(np.float32)
        return delta


@dataclass
class PointEngine:
    """What a node computes with when its model is a point."""

    problem: Points
    place: Place
    rank: int

    def keep_loaded(self) -> AbstractContextManager[None]:
        """There is no model to keep in memory."""
        return nullcontext()

    def losses(
        self, thetas: Sequence[Vector], probes: Mapping[str, Sequence[Probe]]
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Of each effective model the losses by source; a probe is its name."""
        return [
            {
                source: self.problem.losses(theta, list(map(str, names)))
                for source, names in probes.items()
            }
            for theta in thetas
        ]

    def train(
        self,
        theta: Vector,
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        """Go towards the node's own optimum."""
        from nodes.model.learned import Learned

        delta = self.problem.honest(self.place, theta, training, seed)
        apart = theta - self.problem.optimum(self.place.id)
        loss = float(FLOOR + 0.5 * apart @ apart / apart.size)
        return Learned(delta, (loss, loss), training.steps, 0.0, {}, ())


@dataclass
class BareCorpus:
    """A corpus without a replay buffer: probes that are given, and nothing that arrives."""

    operators_probes: Mapping[str, Sequence[str]]

    def to_rehearse(self) -> dict[str, list[str]]:
        """A parent has no text of its own."""
        return {}

    def arrived_probes(self) -> dict[str, dict[str, str]]:
        """None arrive."""
        return {}

    def retire(self, ids: Iterable[str]) -> None:
        """None arrived."""


@dataclass
class PointCorpus(BareCorpus):
    """There is no text, only names of probes."""

    def lesson(self, reads: int) -> Lesson:
        """Something to train on: the engine knows the optimum."""
        return Lesson({"point": "point"}, {}, ONLY_NEW, None, None)

    def learned(self, ids: Iterable[str]) -> None:
        """Nothing is kept."""


def seed_of(*parts: object) -> int:
    """A number that follows from parts, for generators that take one."""
    return zlib.crc32("/".join(map(str, parts)).encode())
