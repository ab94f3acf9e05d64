"""What one simulated network is: every setting of a cell, checked whole, then constant.

The sections that a real node has are the node's own (``nodes.config.sections``); the rest says what
a simulation adds: the tree, the devices, the data, who attacks, what breaks. Nothing here knows of
sweeps, files or processes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveInt, field_validator, model_validator

from nodes.config.sections import (
    GateSettings,
    PromotionSettings,
    ReplaySettings,
    RoundSettings,
    Section,
    TrainingSettings,
)
from protocol import ProtocolError, Scope
from protocol.ids import MAX_SEGMENTS
from simulations.attacks import ATTACKS

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
FanOut = Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=MAX_SEGMENTS + 1)]

NO_ATTACK = "none"
BASES = ("vector", "tiny", "smollm2")
"""Models by name; anything else is a folder with a base."""

WITH_STRENGTH = ("scaled_sign_flip", "gaussian", "short", "alie", "ipm")
"""Attacks that have a strength: a factor, a share or a number of deviations."""
TEXT_ATTACKS = ("label_flip", "backdoor", "safety_removal")
"""Attacks on what a device trains on; they need a language model."""

_GLOB = re.compile(r"[a-z0-9_/*?\[\]!-]+")
_SHARES_SUM = 1e-6
"""By which the shares of a device mix may miss 1: three thirds are written as 0.333333."""


class Topology(Section):
    """The tree: either a number of children for each tier, or every scope by its path.

    ``fan_out``: children of the root, of each node of the next tier, and so on; the last number
    counts the devices of each lowest scope. ``scopes`` and ``devices``: the paths of all scopes but
    the root, and how many devices hang below which.
    """

    fan_out: FanOut | None = None
    scopes: tuple[str, ...] = ()
    devices: dict[str, PositiveInt] = Field(default_factory=dict)

    @field_validator("scopes")
    @classmethod
    def _well_formed(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        for path in scopes:
            try:
                above = Scope.parse(path).parent
            except ProtocolError as error:
                raise ValueError(error.sentence) from None
            if above is None:
                raise ValueError("the root / is always there and is not listed")
            if str(above) not in {"/", *scopes}:
                raise ValueError(f"{path} needs {above} above it")
        if len(set(scopes)) != len(scopes):
            raise ValueError("a scope is listed twice")
        return scopes

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if bool(self.fan_out) == bool(self.devices):
            raise ValueError("give either fan_out, or scopes and devices")
        if self.fan_out and self.scopes:
            raise ValueError("with fan_out the scopes follow from it; leave scopes out")
        known = {"/", *self.scopes}
        if strangers := sorted(set(self.devices) - known):
            raise ValueError(f"devices below scopes that are not listed: {', '.join(strangers)}")
        empty = [s for s in self.scopes if not any(_within(d, s) for d in self.devices)]
        if empty:
            raise ValueError(f"no device is below {', '.join(empty)}")
        return self

    @property
    def device_count(self) -> int:
        """How many devices the network has."""
        return math.prod(self.fan_out) if self.fan_out else sum(self.devices.values())


class Model(Section):
    """What is learned. ``vector``: no language model, ``size`` coordinates with a known optimum.

    ``rank`` is R, that of every adapter of the network. ``noise``: of a vector device's training,
    standard deviation in each coordinate.
    """

    kind: str = Field(default="vector", min_length=1)
    size: PositiveInt = 256
    rank: PositiveInt = 16
    noise: float = Field(default=0.1, ge=0)

    @property
    def is_vector(self) -> bool:
        """Whether there is no language model."""
        return self.kind == "vector"


class Data(Section):
    """What devices learn from.

    ``documents`` and ``held_out`` count for each device and each scope, ``probes`` for each source
    of an interior node. ``arrivals``: a device gets the text of so many domains, its own first, one
    a round. ``spread``: how far the optima of a vector's domains lie apart, in units of how far
    what they share lies from zero. ``fan_out``: the tree in which a vector's domains lie, if not
    the network's own, so that two networks have the same devices.
    """

    source: Literal["synthetic", "hpo", "icd10"] = "synthetic"
    split: Literal["domain", "dirichlet", "iid"] = "domain"
    alpha: Positive = 0.5
    documents: PositiveInt = 64
    probes: PositiveInt = 64
    held_out: PositiveInt = 64
    arrivals: PositiveInt = 1
    spread: float = Field(default=1.0, ge=0)
    fan_out: FanOut | None = None


class DeviceKind(Section):
    """One kind of device in the mix.

    ``rank``: of the adapter it trains; the model's if not given. ``layers``: which share of the
    base's layers it has. ``speed``: training steps a second; with ``speed_spread`` s each device's
    own is drawn log-uniform from speed/√s to speed·√s. ``availability``: share of the time that it
    is online. ``memory_mb``: 0 for no limit.
    """

    share: Share = 1.0
    rank: PositiveInt = 16
    layers: float = Field(default=1.0, gt=0, le=1)
    speed: Positive = 1.0
    speed_spread: float = Field(default=1.0, ge=1)
    availability: float = Field(default=1.0, gt=0, le=1)
    memory_mb: float = Field(default=0, ge=0)
    mode: Literal["plain", "personal"] = "plain"


class Links(Section):
    """Every link between a child and its parent."""

    latency_s: float = Field(default=0.05, ge=0)
    bandwidth_mbit: Positive = 50.0


class Event(Section):
    """Something that happens at a time to the nodes whose name or path a pattern fits."""

    at_s: float = Field(ge=0)
    kind: Literal["arrive", "leave", "crash", "partition", "heal"]
    nodes: str

    @field_validator("nodes")
    @classmethod
    def _pattern(cls, nodes: str) -> str:
        if not _GLOB.fullmatch(nodes):
            raise ValueError('a pattern of names or paths is such as "/en/*" or "device-7"')
        return nodes


class Schedule(Section):
    """Who is there when. ``turn_s``: the lowest scopes, each with its devices, are online one after
    another, for so long each; 0: all of them are."""

    events: tuple[Event, ...] = ()
    turn_s: float = Field(default=0, ge=0)


class Attack(Section):
    """What malicious devices do; ``fraction`` of the devices of each scope.

    ``concentrated``: as many as ``spread``, but first enough in one scope to capture it, then in
    the next. ``strength``: in place of the attack's own.
    """

    name: str = NO_ATTACK
    fraction: float = Field(default=0.3, ge=0, lt=1)
    placement: Literal["spread", "concentrated"] = "spread"
    strength: Positive | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        known = (NO_ATTACK, *ATTACKS, *TEXT_ATTACKS)
        if name not in known:
            raise ValueError(f"there is no attack {name!r}; there are {', '.join(known)}")
        return name


class Strategy(Section):
    """How parents aggregate: ``banyan`` is everything that real nodes do; the others are that
    aggregation in their place, without a gate."""

    name: Literal[
        "banyan",
        "fedavg",
        "flower:FedAvg",
        "flower:FedTrimmedAvg",
        "flower:FedMedian",
        "flower:Krum",
        "flower:MultiKrum",
        "flower:Bulyan",
        "fedbuff",
        "synchronous",
        "deadline",
    ] = "banyan"


class Run(Section):
    """How long, how often, and on what.

    A run ends when every lowest scope has closed ``rounds`` rounds, or after ``until_s`` virtual
    seconds. ``measure_every``: rounds of a scope. What changes no result: ``workers`` cells run at
    once, 0 for all cores; one cell is spread over ``processes``; ``folder`` is where the engine
    ``flower`` keeps nodes, which every machine of a cluster must see.
    """

    rounds: PositiveInt = 20
    until_s: Positive | None = None
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    measure_every: PositiveInt = 1
    engine: Literal["local", "flower"] = "local"
    workers: int = Field(default=0, ge=0)
    processes: PositiveInt = 1
    folder: str | None = None

    @field_validator("seeds")
    @classmethod
    def _once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed is given twice")
        return seeds


class Settings(Section):
    """Everything that decides a cell; a cell's own settings have one seed in ``run.seeds``."""

    topology: Topology
    model: Model = Model()
    data: Data = Data()
    devices: Annotated[tuple[DeviceKind, ...], Field(min_length=1)] = (DeviceKind(),)
    links: Links = Links()
    schedule: Schedule = Schedule()
    attack: Attack = Attack()
    strategy: Strategy = Strategy()
    rounds: RoundSettings = RoundSettings()
    gate: GateSettings = GateSettings()
    training: TrainingSettings = TrainingSettings()
    promotion: PromotionSettings = PromotionSettings()
    replay: ReplaySettings = ReplaySettings()
    run: Run = Run()

    @model_validator(mode="before")
    @classmethod
    def _devices_have_the_models_rank(cls, raw: Any) -> Any:
        """What is resolved says every device's rank, also of devices that did not."""
        if not isinstance(raw, dict):
            return raw
        model, devices = raw.get("model", {}), raw.get("devices", [{}])
        rank = model.get("rank") if isinstance(model, dict) else None
        if rank is None or not isinstance(devices, list | tuple):
            return raw
        filled = [{"rank": rank} | d if isinstance(d, dict) else d for d in devices]
        return raw | {"devices": filled}

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        if problems := list(_disagreements(self)):
            raise ValueError("; ".join(problems))
        return self

    @property
    def seed(self) -> int:
        """The seed of a cell: the first."""
        return self.run.seeds[0]


def _disagreements(settings: Settings) -> Iterator[str]:
    """What no section can see alone, each with its place."""
    rank = settings.model.rank
    for number, device in enumerate(settings.devices):
        if device.rank > rank:
            yield f"devices.{number}.rank: {device.rank} is more than model.rank, {rank}"
    shares = sum(device.share for device in settings.devices)
    if abs(shares - 1) > _SHARES_SUM:
        yield f"devices: the shares sum to {shares:g}, not to 1"
    yield from (_vector if settings.model.is_vector else _language_model)(settings)
    if settings.attack.strength is not None and settings.attack.name not in WITH_STRENGTH:
        yield f"attack.strength: only {', '.join(WITH_STRENGTH)} have one"
    if settings.attack.placement == "concentrated" and settings.topology.fan_out is None:
        yield "attack.placement: to be concentrated it needs topology.fan_out"
    if settings.training.mode != "plain":
        yield "training.mode: in an experiment devices have a mode: set it in [[devices]]"
    if settings.training.seed != 0:
        yield "training.seed: in an experiment seeds come from run.seeds"


def _vector(settings: Settings) -> Iterator[str]:
    model, data, count = settings.model, settings.data, settings.topology.device_count
    if data.source != "synthetic":
        yield f"data.source: a vector learns from synthetic data, not from {data.source}"
    if model.size % model.rank:
        yield f"model.size: {model.size} is no multiple of model.rank, {model.rank}"
    if data.fan_out is not None and math.prod(data.fan_out) != count:
        yield f"data.fan_out: it has {math.prod(data.fan_out)} devices, the network {count}"
    if settings.attack.name in TEXT_ATTACKS:
        yield f"attack.name: {settings.attack.name} attacks text, and a vector has none"


def _language_model(settings: Settings) -> Iterator[str]:
    if settings.data.source == "synthetic":
        yield f"data.source: {settings.model.kind} learns from text: hpo or icd10"
    if settings.data.fan_out is not None:
        yield "data.fan_out: only a vector's domains lie in a tree of their own"


def _within(path: str, scope: str) -> bool:
    return path == scope or path.startswith(f"{scope}/")
