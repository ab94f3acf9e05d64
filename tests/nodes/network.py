"""A parent and its devices on disk, with real keys, ledgers and a real tiny base."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.child.child import Child
from nodes.config.files import load_config, write_config
from nodes.config.sections import NodeConfig
from nodes.learning.engine import TorchEngine
from nodes.machine.clock import Clock, SystemClock
from nodes.model.coordinates import coordinates_of
from nodes.parent.parent import Parent
from nodes.parent.tasks import Request
from nodes.state.home import Home, open_home
from nodes.state.node import Node
from nodes.text.files import write_texts
from nodes.trust.enrolment import certify, enrol, join, make_request
from nodes.trust.network import init_network
from protocol import NodeId, PublicKey, Role, Scope
from tests.nodes.conftest import PROBES, TEXTS

ROUNDS: dict[str, Any] = {"deadline_s": 60, "pause_s": 0, "poll_s": 0.05, "retry_s": 0, "grace": 0}
LENIENT: dict[str, Any] = {"alpha": 0.99}
"""A gate that lets small gains pass: most tests are about what comes before it."""
TRAINING: dict[str, Any] = {"steps": 4, "batch_size": 4, "learning_rate": 0.05, "max_tokens": 32}


@dataclass
class Peer:
    """One node, open."""

    home: Home
    node: Node
    config: NodeConfig
    engine: TorchEngine

    @property
    def id(self) -> NodeId:
        return self.home.id

    def parent(self) -> Parent:
        return Parent(self.node, self.config, self.engine)

    def child(self) -> Child:
        return Child(self.node, self.config, self.engine)

    def kinds(self, kind: str) -> list[Mapping[str, Any]]:
        """The bodies of the ledger's events of one kind."""
        return [event.body for event in self.node.ledger.events([kind])]

    def close(self) -> None:
        self.node.close()


def peer(folder: Path, clock: Clock | None = None) -> Peer:
    """Open what is on disk; by the machine's clock unless another is given."""
    clock = clock or SystemClock()
    home = open_home(folder, clock.now_ms())
    config = load_config(folder / "node.toml")
    return Peer(home, Node(home, clock), config, TorchEngine(home, config.model, threading.Event()))


def make_root(folder: Path, base: Path, rounds: Mapping[str, Any] = ROUNDS, port: int = 0) -> Path:
    """A root with probes."""
    home = init_network(folder, "test", coordinates_of(base, rank=4), SystemClock())
    write_texts(folder / "probes.jsonl", PROBES)
    settings = {
        "rounds": dict(rounds),
        "gate": LENIENT,
        "data": {"probes": {"all": "probes.jsonl"}},
    }
    write_config(home, base=base, port=port, settings=settings)
    return folder


def add_child(
    parent: Path,
    folder: Path,
    base: Path,
    *,
    scope: str = "/",
    role: Role = Role.DEVICE,
    address: str = "127.0.0.1:1",
    rank: int | None = None,
    texts: list[str] | None = None,
    rounds: Mapping[str, Any] = ROUNDS,
    mode: str = "plain",
    probed: bool = False,
    training: Mapping[str, Any] = TRAINING,
    doors: Sequence[str] = (),
    port: int = 0,
) -> Path:
    """Enrol a child at the node in ``parent``."""
    clock = SystemClock()
    above = Node(open_home(parent, clock.now_ms()), clock)
    try:
        request = make_request(folder, folder.name, Scope.parse(scope), role)
        home, _ = join(folder, enrol(above, request, [address], doors=doors, rank=rank), clock)
    finally:
        above.close()
    settings: dict[str, Any] = {}
    if role is Role.DEVICE:
        write_texts(folder / "train.jsonl", TEXTS if texts is None else texts)
        data: dict[str, Any] = {"train": ["train.jsonl"]}
        if probed:
            write_texts(folder / "probes.jsonl", PROBES)
            data["probes"] = {"all": "probes.jsonl"}
        settings = {"data": data, "training": {**training, "mode": mode}}
    else:
        write_texts(folder / "probes.jsonl", PROBES)
        settings = {
            "data": {"probes": {"all": "probes.jsonl"}},
            "gate": LENIENT,
            "rounds": dict(rounds),
        }
    write_config(home, base=base, uplink=[address], port=port or None, settings=settings)
    return folder


def enrol_again(parent: Node, child: NodeId) -> None:
    """Renew a member at its place, with its keys and its name: that pardons it."""
    known = parent.certificate_of(child)
    assert known is not None
    certify(
        parent,
        PublicKey.from_raw(known.public_key),
        name=known.name,
        scope=known.scope,
        role=known.role,
        transport=known.transport_key,
        rank=known.mask_rank,
    )


def by_child(requests: list[Request]) -> dict[NodeId, Request]:
    return {request.child: request for request in requests}


def answer(parent: Parent, child: Peer, request: Request) -> list[Request]:
    """Let a child answer a task, without a network between."""
    kind, blobs = child.child().answer(request.blobs)
    return parent.receive(child.id, request.task, kind, blobs)
