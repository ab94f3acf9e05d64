"""A parent with many enrolled children on disk, and a step that makes its model better.

The gate shall let rounds pass, or no child would have a chain to follow: so the updates go along a
step that was learned once, each a part of it beside its noise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aggregation.replay import ONLY_NEW
from nodes.config.files import write_config
from nodes.config.sections import ModelSettings, TrainingSettings
from nodes.learning.engine import TorchEngine
from nodes.machine.clock import SystemClock
from nodes.model.coordinates import coordinates_of
from nodes.state.home import Home
from nodes.state.node import Node
from nodes.text.files import write_texts
from nodes.trust.enrolment import certify
from nodes.trust.network import init_network
from nodes.trust.tls import authority_pem
from nodes.trust.transport_keys import generate_transport_key, transport_public_pem
from protocol import Role, SigningKey, encode_adapter
from simulations.bench.children.thin import Circle, ThinMember
from simulations.datasets import icd10
from simulations.datasets.split import split
from simulations.datasets.tiny import WIDE, tiny_base
from simulations.demo.network import free_ports
from simulations.store import ResultStore

RANK, TARGETS = 122, ("gate_proj", "up_proj")
"""Together 999,424 coordinates on the wide tiny base: an update of one megabyte."""
SOURCE = "circulatory"
PROBES = 64
STEPS = 60
LIMIT_S = 300


@dataclass(frozen=True)
class Prepared:
    """A parent's folder, and what its children know."""

    home: Home
    circle: Circle
    members: tuple[ThinMember, ...]


def prepare(
    folder: Path, cache: Path, children: int, rounds: int, seed: int, say: Callable[[str], None]
) -> Prepared:
    """Make a root with this many enrolled children, which stops after so many releases.

    Raises ``NodeError`` ``no-data`` without the package that the tiny base is trained on.
    """
    base, clock = tiny_base(cache, WIDE).resolve(), SystemClock()
    text = split(icd10.names("en", SOURCE), {"train": 0.6, "probes": 0.4}, b"children")
    home = init_network(
        folder / "parent", "bench", coordinates_of(base, rank=RANK, targets=TARGETS), clock
    )
    part = _part_of_step(home, base, text["train"], cache, rounds, folder / "step", say)
    (port,) = free_ports(1)
    write_texts(home.folder / "text" / "probes.jsonl", text["probes"])
    write_config(home, base=base, port=port, settings=_settings(rounds))
    circle = Circle(
        network=home.network_envelope,
        layout=home.layout.to_json(),
        address=f"127.0.0.1:{port}",
        authority=authority_pem(home.folder / "tls", home.key),
        step=part,
        seed=seed,
    )
    node = Node(home, clock)
    try:
        members = tuple(_enrolled(node, number) for number in range(children))
    finally:
        node.close()
    return Prepared(home, circle, members)


def _settings(rounds: int) -> dict[str, dict[str, Any]]:
    return {
        "rounds": {"deadline_s": LIMIT_S, "grace": 20, "max_releases": rounds},
        "gate": {"size": PROBES, "each": PROBES, "rehearsal_steps": 0},
        "data": {"probes": {SOURCE: "text/probes.jsonl"}},
    }


def _enrolled(parent: Node, number: int) -> ThinMember:
    identity, transport = Ed25519PrivateKey.generate(), generate_transport_key()
    certificate = certify(
        parent,
        SigningKey(identity).public,
        name=f"child-{number}",
        scope=parent.home.scope,
        role=Role.DEVICE,
        transport=transport_public_pem(transport),
    )
    path = (*parent.home.path_envelopes, certificate)
    return ThinMember(number, identity.private_bytes_raw(), transport, path)


def _part_of_step(
    home: Home,
    base: Path,
    texts: list[str],
    cache: Path,
    rounds: int,
    file: Path,
    say: Callable[[str], None],
) -> Path:
    """Write a part of a step that was learned on the wide base, once for all runs.

    So small a part that it is half done after all rounds: the last must gain something too.
    """

    def learn() -> tuple[Any, dict[str, Any]]:
        settings = ModelSettings(base=base)
        engine = TorchEngine(home, settings, threading.Event())
        training = TrainingSettings(steps=STEPS, learning_rate=5e-3)
        start = np.zeros(home.layout.size, np.float32)
        learned = engine.train(start, texts, training, 0, {}, ONLY_NEW)
        return learned.delta, {"losses": list(learned.losses)}

    store = ResultStore(cache, home.network.base, say)
    made_of = [home.network.basis, STEPS]
    step, _ = store.vector("wide-step", made_of, home.layout.size, learn, "learning a step")
    file.write_bytes(encode_adapter(step / np.float32(2 * rounds)))
    return file
