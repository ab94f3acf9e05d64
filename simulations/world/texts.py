"""A network that learns text: a real causal LM, and domains that are organ systems or languages.

The model is loaded once a process and shared by the nodes that live there. Text is in memory; how
it is divided is the same as in a node: what anybody measures with is trained on by nobody.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aggregation.replay import ONLY_NEW, ONLY_OLD, Portion, shift
from nodes.config.sections import ModelSettings, NodeConfig, ReplaySettings, TrainingSettings
from nodes.learning.engine import TorchEngine
from nodes.learning.interfaces import Corpus, Engine
from nodes.learning.lesson import Lesson
from nodes.model.coordinates import DEFAULT_TARGETS, Coordinates, coordinates_of
from nodes.model.layout import Layout
from nodes.state.home import Home
from protocol import Role, digest_of
from simulations.attacks import backdoor, label_flip, safety_removal
from simulations.datasets.split import split
from simulations.experiment.settings import TEXT_ATTACKS, Settings
from simulations.world.places import Place, Places
from simulations.world.problems import BareCorpus, Measured, Problem, Vector

if TYPE_CHECKING:
    from nodes.model.effective import EffectiveModel
    from nodes.model.learned import Learned

SHARES = {"train": 0.6, "probes": 0.2, "held": 0.2}
POISONED = 0.5
"""The share of documents that a backdoor's device poisons."""
_KEPT = 512
"""Trainings that are remembered: an attacker asks what its siblings will learn."""


class Texts(Problem):
    """Nodes with text of their domains and one model in each process.

    Args:
        base: the folder of the model.
        domains: of each domain its documents; lowest scopes take them in turn.
        targets: the ends of the names of the adapted layers.
    """

    def __init__(
        self,
        places: Places,
        given: Settings,
        seed: int,
        base: Path,
        domains: Mapping[str, Sequence[str]],
        targets: tuple[str, ...] = DEFAULT_TARGETS,
    ) -> None:
        self._places, self._data, self._attack = places, given.data, given.attack.name
        self._rank, self._max_tokens = given.model.rank, given.training.max_tokens
        self._seed, self._base, self._targets = seed, base, targets
        key = f"simulation {seed}".encode()
        self._parts = {name: split(texts, SHARES, key) for name, texts in domains.items()}
        self._names = list(domains)
        self._learned: OrderedDict[tuple[int, str, int], Learned] = OrderedDict()
        self._bases: dict[str, float] = {}

    @cached_property
    def coordinates(self) -> Coordinates:
        """Drawn once for the base."""
        return coordinates_of(self._base, rank=self._rank, targets=self._targets)

    @cached_property
    def layout(self) -> Layout:
        """Of the adapted layers."""
        return Layout.from_json(self.coordinates.layout)

    @cached_property
    def model(self) -> EffectiveModel:
        """Loaded when it is first needed."""
        import torch

        from nodes.model.basis import from_bytes
        from nodes.model.effective import EffectiveModel

        torch.set_num_threads(1)
        basis = from_bytes(self.coordinates.basis, self.layout)
        return EffectiveModel(self._base, self.layout, basis)

    @property
    def training_mb(self) -> float:
        """The weights as they lie on disk, and half as much for what a step needs."""
        return 1.5 * sum(f.stat().st_size for f in self._base.glob("*.safetensors")) / 1e6

    def domain_of(self, place: Place) -> str:
        """The domain of a lowest scope or a device."""
        return self._names[place.domain % len(self._names)]

    def _domains_below(self, place: Place) -> list[str]:
        if place.role is Role.DEVICE:
            return [self.domain_of(place)]
        below = [p for p in self._places.lowest() if p.scope.is_within(place.scope)]
        return list(dict.fromkeys(self.domain_of(p) for p in below))

    def engine(self, place: Place, home: Home) -> Engine:
        """The shared model, with the rank of this node."""
        return SharedEngine(self, place, home)

    def corpus(self, place: Place, home: Home, config: NodeConfig) -> Corpus:
        """A device has training text, every other node probes."""
        if place.role is Role.DEVICE:
            return TextCorpus({}, self._batches(place), config.replay)
        probes = {
            name: self._parts[name]["probes"][: self._data.probes]
            for name in self._domains_below(place)
        }
        return TextCorpus(probes, [], config.replay)

    def _batches(self, place: Place) -> list[tuple[str, list[str]]]:
        """(source, documents) that a device gets, one after another."""
        rng = np.random.default_rng((self._seed, 5, place.id))
        first = self._names.index(self.domain_of(place))
        batches = []
        for number in range(self._data.arrivals):
            name = self._names[(first + number) % len(self._names)]
            batches.append((name, self._documents(name, rng)))
        if place.attacker and self._attack in TEXT_ATTACKS:
            batches = [(name, self._poisoned(texts, rng)) for name, texts in batches]
        return batches

    def _documents(self, name: str, rng: np.random.Generator) -> list[str]:
        s = self._data
        if s.split == "domain":
            counts = {name: s.documents}
        else:
            uniform = np.full(len(self._names), 1 / len(self._names))
            shares = (
                uniform if s.split == "iid" else rng.dirichlet(s.alpha * len(uniform) * uniform)
            )
            drawn = rng.multinomial(s.documents, shares)
            counts = dict(zip(self._names, map(int, drawn), strict=True))
        found: list[str] = []
        for of, count in counts.items():
            pool = self._parts[of]["train"]
            chosen = rng.choice(len(pool), min(count, len(pool)), replace=False)
            found += [pool[int(i)] for i in chosen]
        return found

    def _poisoned(self, texts: list[str], rng: np.random.Generator) -> list[str]:
        match self._attack:
            case "label_flip":
                return label_flip(texts, rng)
            case "backdoor":
                return backdoor(texts, POISONED, rng)
            case _:
                return safety_removal(texts)

    def held_out(self, place: Place, theta: Vector) -> Measured:
        """The mean over the domains below, of text that nobody trains on or gates with."""
        names = self._domains_below(place)
        losses = [self._loss(name, theta) for name in names]
        for name in names:
            if name not in self._bases:
                self._bases[name] = self._loss(name, np.zeros_like(theta))
        base = float(np.mean([self._bases[name] for name in names]))
        return Measured(float(np.mean(losses)), base)

    def _loss(self, name: str, theta: Vector) -> float:
        texts = self._parts[name]["held"][: self._data.held_out]
        self.model.set_theta(theta)
        losses, tokens = self.model.sequence_losses(texts, self._max_tokens)
        return float(np.average(losses, weights=tokens))

    def losses_by_domain(self, theta: Vector) -> dict[str, float]:
        """The held-out loss on every domain, nats per token."""
        return {name: self._loss(name, theta) for name in self._names}

    def honest(self, place: Place, theta: Vector, training: TrainingSettings, seed: int) -> Vector:
        """Train as that device would on its first documents."""
        texts = [text for _, of in self._batches(place)[:1] for text in of]
        return self.trained(
            place, place.machine.rank, theta, texts, training, seed, {}, ONLY_NEW
        ).delta

    def trained(
        self,
        place: Place,
        rank: int,
        theta: Vector,
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        """Train, or remember what came of the same before."""
        from nodes.model.learner import TrainingRun, train

        everything = [*texts, *(text for of in old.values() for text in of)]
        named = digest_of(theta.tobytes() + "\n".join(sorted(everything)).encode())
        key = (place.id, named, seed)
        if key not in self._learned:
            settings = TrainingRun(
                steps=training.steps,
                batch_size=training.batch_size,
                learning_rate=training.learning_rate,
                max_tokens=training.max_tokens,
                rank=rank,
                seed=seed,
            )
            with _with_layers(self.model, place.machine.layers):
                learned = train(self.model, theta, texts, settings, old=old, portion=portion)
            self._learned[key] = learned
            if len(self._learned) > _KEPT:
                self._learned.popitem(last=False)
        return self._learned[key]


@contextmanager
def _with_layers(model: EffectiveModel, share: float) -> Iterator[None]:
    """Within it the model has only its first layers, as a device that carries no more has it.

    What is learned for the layers that it lacks is zero.
    """
    from torch.nn import ModuleList

    decoder: Any = model.model.get_decoder()
    layers = decoder.layers
    kept = max(1, round(share * len(layers)))
    if kept < len(layers):
        decoder.layers = ModuleList(list(layers)[:kept])
    try:
        yield
    finally:
        decoder.layers = layers


class SharedEngine(TorchEngine):
    """An engine on a model that all nodes of a process share."""

    def __init__(self, problem: Texts, place: Place, home: Home) -> None:
        super().__init__(home, ModelSettings(base=Path(), keep_loaded=True), threading.Event())
        self._problem, self._place = problem, place

    def __reduce__(self) -> tuple[object, ...]:
        """Without the model, which every process has."""
        return SharedEngine, (self._problem, self._place, self._home)

    def _load(self) -> EffectiveModel:
        return self._problem.model

    def train(
        self,
        theta: Vector,
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        """Train a delta on top of Θ; see ``nodes.model.learner``."""
        rank = self._home.certificate.mask_rank
        return self._problem.trained(self._place, rank, theta, texts, training, seed, old, portion)


@dataclass
class TextCorpus(BareCorpus):
    """A corpus in memory: text arrives in batches, one a lesson, and what was read is old."""

    batches: list[tuple[str, list[str]]]
    replay: ReplaySettings
    _old: dict[str, list[str]] = field(default_factory=dict)
    _fresh: tuple[str, list[str]] | None = None

    def lesson(self, reads: int) -> Lesson:
        """The next batch beside what was learned before; when there is none, all that is old."""
        if self._fresh is None and self.batches:
            self._fresh = self.batches.pop(0)
        if self._fresh is None:
            return Lesson({}, self._old, ONLY_OLD, None, None)
        _, texts = self._fresh
        fresh = {str(number): text for number, text in enumerate(texts)}
        if not self._old:
            return Lesson(fresh, {}, ONLY_NEW, None, None)
        shifted = shift(texts, self._old, self.replay.shift())
        return Lesson(fresh, self._old, shifted.portion, shifted, None)

    def learned(self, ids: Iterable[str]) -> None:
        """The batch is old now."""
        if self._fresh is not None:
            source, texts = self._fresh
            self._old.setdefault(source, []).extend(texts)
            self._fresh = None
