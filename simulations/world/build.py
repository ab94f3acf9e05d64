"""From an experiment's settings to a world: the tree, its problem, its nodes and their settings.

Everything follows from the settings and the seed, in every process alike.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from nodes.child.child import Child
from nodes.child.offer import Offer
from nodes.config.sections import NodeConfig, RoundSettings
from nodes.errors import NodeError
from nodes.learning.interfaces import Engine
from nodes.machine.clock import Clock
from nodes.model.coordinates import DEFAULT_TARGETS
from nodes.parent.settlement import Settlement
from nodes.state.interfaces import Storage
from nodes.state.node import Node
from protocol import Role, Task
from simulations.attacks import ATTACKS, placement
from simulations.datasets import hpo, icd10
from simulations.datasets.smollm2 import smollm2_base
from simulations.datasets.tiny import tiny_base
from simulations.experiment.settings import Settings
from simulations.world.attackers import ColludingOffers, colluders_below, encode_anything
from simulations.world.members import Maker, settings
from simulations.world.places import Machine, Place, Places, grow, scopes_of
from simulations.world.problems import Points, PointSettings, Problem, seed_of
from simulations.world.storage import AppendFile, FileArtefacts, file_storage
from simulations.world.strategies import WAITING, OpenGate, PlainCombiner
from simulations.world.texts import Texts

StorageOf = Callable[[Place, Clock], Storage]
BASES = Path("runs/base")
"""Where converted and trained bases are kept."""
FOR_EVER_S = 500_000.0
"""Within the lifetime of a task."""
TINY_TARGETS = ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj")
"""A tiny model has few values in q and v alone."""


def build(given: Settings, seed: int, storage_of: StorageOf | None = None) -> Maker:
    """The maker of all nodes of one cell.

    Args:
        storage_of: where each node keeps what it must; one file for all of them by default.
    """
    quiet()
    places = plant(given, seed)
    problem = problem_of(given, places, seed)
    config = config_of(given)
    lowest = {place.id for place in places.lowest()}

    def of_place(place: Place) -> NodeConfig:
        if place.role is not Role.DEVICE:
            return config
        return config.model_copy(
            update={"training": config.training.model_copy(update={"mode": place.mode})}
        )

    colluding = (
        colluders_below(given.attack, places, problem, seed, config.rounds)
        if given.attack.name in ATTACKS
        else {}
    )

    def child(place: Place, node: Node, its: NodeConfig, engine: Engine) -> Child | None:
        corpus = problem.corpus(place, node.home, its)
        if 0 < place.machine.memory_mb < problem.training_mb:
            return Child(node, its, engine, corpus, offers=NoOffers())
        if not place.attacker or place.parent not in colluding:
            return None
        offers = ColludingOffers(place, colluding[place.parent], node, its)
        return Child(node, its, engine, corpus, offers=offers, encode=encode_anything)

    def settlement(place: Place, node: Node, its: NodeConfig, engine: Engine) -> Settlement | None:
        if given.strategy.name == "banyan":
            return None
        corpus = problem.corpus(place, node.home, its)
        combiner = PlainCombiner(node, given.strategy.name)
        return Settlement(node, its, engine, corpus, combiner=combiner, gate=OpenGate())

    def limit(place: Place) -> int | None:
        return given.run.rounds if place.id in lowest else None

    return Maker(
        places=places,
        problem=problem,
        seed=seed,
        config_of=of_place,
        storage_of=storage_of or in_one_file(),
        settlement_of=settlement,
        child_of=child,
        limit_of=limit,
        measure_every=given.run.measure_every,
    )


def in_one_file() -> StorageOf:
    """A file that all nodes of this process share: equal artefacts are kept once."""
    file = AppendFile()
    artefacts = FileArtefacts(file)
    return lambda _, clock: file_storage(file, artefacts, clock.now_ms)


class NoOffers:
    """The offers of a device that cannot train: it follows the chain and offers nothing."""

    def offer(self, task: Task) -> Offer:
        """Abstain."""
        raise NodeError("no-memory", "This device has not the memory to train.")


def quiet() -> None:
    """A thousand nodes would log a line each for every message."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def config_of(given: Settings) -> NodeConfig:
    """The sections of ``node.toml`` that an experiment may have, as every node reads them."""
    sections: Mapping[str, Any] = {
        "rounds": rounds_of(given),
        "gate": given.gate,
        "training": given.training,
        "promotion": given.promotion,
        "replay": given.replay,
    }
    return settings(sections)


def rounds_of(given: Settings) -> RoundSettings:
    """The rounds, as what Banyan is compared with has them.

    A synchronous federation waits for everybody, one with a deadline until then, and FedBuff for a
    quarter of its members unless ``enough`` says otherwise; who is late counts in the next round.
    (Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", arXiv 2106.06639.)
    """
    rounds, name = given.rounds, given.strategy.name
    if name not in WAITING:
        return rounds
    changed: dict[str, Any] = {"f": 0, "grace": 0.0}
    if name == "synchronous":
        changed["deadline_s"] = FOR_EVER_S
        changed["resend_s"] = FOR_EVER_S
    if name == "fedbuff" and rounds.enough is None:
        changed["enough"] = math.ceil(given.topology.device_count / 4)
    return rounds.model_copy(update=changed)


def plant(given: Settings, seed: int) -> Places:
    """The tree: who hangs where, on which machine, and who is malicious."""
    topology = given.topology
    if topology.fan_out is not None:
        scopes = scopes_of(topology.fan_out)
    else:
        scopes = dict.fromkeys(topology.scopes, 0) | dict(topology.devices)
    total = sum(scopes.values())
    rng = np.random.default_rng((seed_of("machines"), seed))
    machines, modes = _machines(given, total, rng)
    attackers = _attackers(given, scopes, rng)
    links = given.links
    servers = Machine(
        rank=given.model.rank, latency_s=links.latency_s, bytes_per_s=links.bandwidth_mbit * 125_000
    )
    return grow(scopes, machines, attackers, modes, servers)


def _machines(
    given: Settings, total: int, rng: np.random.Generator
) -> tuple[list[Machine], list[str]]:
    """A machine and a mode for each device: kinds in their shares, mixed over the tree."""
    kinds = given.devices
    ends = np.cumsum([kind.share for kind in kinds]) * total
    chosen = np.searchsorted(ends, rng.permutation(total) + 0.5).clip(0, len(kinds) - 1)
    machines: list[Machine] = []
    modes: list[str] = []
    for number in chosen:
        kind = kinds[int(number)]
        spread = math.log(kind.speed_spread)
        speed = kind.speed * math.exp(spread * (rng.random() - 0.5))
        machines.append(
            Machine(
                rank=kind.rank,
                layers=kind.layers,
                memory_mb=kind.memory_mb,
                steps_per_s=speed,
                availability=kind.availability,
                latency_s=given.links.latency_s,
                bytes_per_s=given.links.bandwidth_mbit * 125_000,
            )
        )
        modes.append(kind.mode)
    return machines, modes


def _attackers(
    given: Settings, scopes: Mapping[str, int], rng: np.random.Generator
) -> Sequence[bool]:
    """Which devices are malicious: a share of every scope's, or of all in as few as possible."""
    attack = given.attack
    counts = [count for _, count in sorted(scopes.items(), key=_by_depth) if count]
    if attack.name == "none" or attack.fraction == 0:
        return [False] * sum(counts)
    if attack.placement == "spread":
        found: list[bool] = []
        for count in counts:
            bad = np.zeros(count, np.bool_)
            bad[rng.permutation(count)[: math.floor(attack.fraction * count + 1e-9)]] = True
            found += bad.tolist()
        return found
    total = math.floor(attack.fraction * sum(counts) + 1e-9)
    fan_out = given.topology.fan_out
    if fan_out is None:
        raise NodeError("bad-experiment", "A concentrated attack needs topology.fan_out.")
    f = given.rounds.f
    most = [(width - 1) // 3 for width in fan_out[1:]]
    tolerated = most if f is None else [min(f, allowed) for allowed in most]
    marked = placement(tuple(fan_out), total, "concentrated", tolerated)
    return [bool(x) for x in marked.ravel()]


def _by_depth(item: tuple[str, int]) -> tuple[int, str]:
    return (0 if item[0] == "/" else item[0].count("/"), item[0])


def problem_of(given: Settings, places: Places, seed: int) -> Problem:
    """What the network learns."""
    model, data = given.model, given.data
    if model.kind == "vector":
        return Points(
            places,
            PointSettings(
                size=model.size,
                rank=model.rank,
                spread=data.spread,
                noise=model.noise,
                probes=data.probes,
                seed=seed,
                fan_out=tuple(data.fan_out) if data.fan_out else None,
            ),
        )
    tiny = model.kind == "tiny"
    base = tiny_base(BASES) if tiny else smollm2_base(BASES)
    if model.kind not in ("tiny", "smollm2"):
        base = Path(model.kind)
    targets = TINY_TARGETS if tiny else DEFAULT_TARGETS
    return Texts(places, given, seed, base, domains_of(data.source), targets)


def domains_of(source: str) -> dict[str, Sequence[str]]:
    """Of each domain its documents: organ systems in English, or chapters in four languages."""
    if source == "icd10":
        languages = ("en", "es", "de", "fr")
        return {
            f"{language} {chapter}": icd10.names(language, chapter)
            for chapter in ("circulatory", "respiratory")
            for language in languages
        }
    return {system: hpo.definitions(system) for system in hpo.SYSTEMS}
