"""The nodes of a simulated tree: production parents and children on a shared clock, in one process.

A member is a ``nodes.Node`` with real keys, certificates, ledger and signatures; only where it
stores and how its mail travels differ from a node that is on-line. What it is given and what it
sends are bytes, so that anything between, a queue, a fault injector or Flower's grid, can carry it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nodes.child.child import Child
from nodes.config.sections import ModelSettings, NodeConfig
from nodes.learning.interfaces import Engine
from nodes.machine.clock import Clock
from nodes.machine.randomness import Randomness, SeededRandomness
from nodes.parent.parent import Parent
from nodes.parent.settlement import Settlement
from nodes.parent.tasks import Request
from nodes.releases.publish import start_root
from nodes.state.event_codec import read
from nodes.state.events import (
    LedgerEvent,
    Released,
    RoundClosed,
    RoundOpened,
    UpdateAccepted,
    UpdateRefused,
)
from nodes.state.home import Home
from nodes.state.interfaces import Storage
from nodes.state.node import Node
from nodes.trust.enrolment import certify
from nodes.trust.network import found_network
from nodes.trust.transport_keys import transport_public_pem
from protocol import NodeId, Refused, ReleaseKind, Role, SigningKey, open_envelope, seal
from protocol.envelope import Envelope
from protocol.statements import Certificate
from simulations.world.places import Place, Places
from simulations.world.problems import Measured, Problem, seed_of

REPORTED = frozenset(
    cls.KIND for cls in (RoundOpened, UpdateAccepted, UpdateRefused, Released, RoundClosed)
)
"""The kinds of event of which a report is made."""
START_MS = 1_700_000_000_000


class VirtualClock:
    """A node's clock in a world that moves it; ``skew_ms`` is by how much it is wrong."""

    def __init__(self, now_ms: int, skew_ms: int = 0) -> None:
        self._start_ms = self._now_ms = now_ms
        self.skew_ms = skew_ms

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._now_ms + self.skew_ms

    def monotonic(self) -> float:
        """Seconds since the world began."""
        return (self._now_ms - self._start_ms) / 1000

    def reach(self, at_ms: int) -> None:
        """Let time pass until then; it never goes back."""
        self._now_ms = max(self._now_ms, at_ms)


@dataclass(frozen=True)
class Mail:
    """What one node sends another: a task (``kind`` "task"), or the answer to one."""

    sender: int
    to: int
    kind: str
    task: str
    blobs: Mapping[str, bytes]

    @property
    def size(self) -> int:
        """Bytes on the link."""
        return sum(map(len, self.blobs.values()))


@dataclass(frozen=True)
class Reported:
    """An event of a parent's ledger; with a release, how good it is on held-out data."""

    at_ms: int
    event: LedgerEvent
    measured: Measured | None


@dataclass(frozen=True)
class Turn:
    """What comes of one event at one node.

    Attributes:
        mail: what it sends.
        next_ms: when to let time pass there if nothing arrives before.
        reported: what happened, for reports.
        rounds: how many rounds it has closed in all.
        steps: how many training steps it made before it sent.
    """

    mail: tuple[Mail, ...]
    next_ms: int | None
    reported: tuple[Reported, ...]
    rounds: int
    steps: int


@dataclass(frozen=True)
class Maker:
    """Makes the members of one world.

    Args:
        config_of: the settings of each node.
        storage_of: where each keeps what it must, given its clock.
        start_ms: when the world begins.
        settlement_of: what becomes of its rounds, if not what production does.
        child_of: who answers for it, if not ``nodes.child.child.Child``.
        limit_of: after how many rounds it opens no more.
        measure_every: rounds of a parent from one measurement on held-out data to the next.
        tidies: whether a node that starts again frees what no event names, as a daemon does; only
            where nodes share no artefacts.
    """

    places: Places
    problem: Problem
    seed: int
    config_of: Callable[[Place], NodeConfig]
    storage_of: Callable[[Place, Clock], Storage]
    settlement_of: Callable[[Place, Node, NodeConfig, Engine], Settlement | None] = lambda *_: None
    child_of: Callable[[Place, Node, NodeConfig, Engine], Child | None] = lambda *_: None
    limit_of: Callable[[Place], int | None] = lambda _: None
    measure_every: int = 1
    tidies: bool = False
    start_ms: int = START_MS
    folder: Path = Path("simulated")

    def all(self) -> list[Member]:
        """Every member, enrolled at its parent, in the order of the places."""
        made: list[Member] = []
        for place in self.places:
            above = made[place.parent] if place.parent is not None else None
            made.append(self._make(place, above))
            if above is not None:
                above.members[made[-1].node.home.id] = place.id
        return made

    def _make(self, place: Place, above: Member | None) -> Member:
        randomness = SeededRandomness(seed_of(self.seed, "node", place.id))
        key = SigningKey(Ed25519PrivateKey.from_private_bytes(randomness.token(32)))
        home = self._home(place, key, above)
        return self.open(place, home, randomness)

    def _home(self, place: Place, key: SigningKey, above: Member | None) -> Home:
        layout, now = self.problem.layout, self.start_ms
        private = _transport_key(self.seed, place)
        transport = transport_public_pem(private)
        path: tuple[Certificate, ...]
        envelopes: tuple[bytes, ...]
        if above is None:
            network, root = found_network(
                "simulated", self.problem.coordinates, key, transport, now
            )
            sealed, envelope = seal(root, key).encode(), seal(network, key).encode()
            path, envelopes = (root,), (sealed,)
        else:
            parent = above.node.home
            sealed = certify(
                above.node,
                key.public,
                name=place.name,
                scope=place.scope,
                role=place.role,
                transport=transport,
                rank=place.machine.rank,
            )
            own = open_envelope(Envelope.decode(sealed), Certificate, parent.key.public)
            network, envelope = parent.network, parent.network_envelope
            path, envelopes = (*parent.path, own), (*parent.path_envelopes, sealed)
        folder = self.folder / str(place.id)
        return Home(folder, key, private, network, envelope, path, envelopes, layout)

    def open(self, place: Place, home: Home, randomness: Randomness) -> Member:
        """A member on what its storage holds: also after a crash."""
        clock = VirtualClock(self.start_ms)
        node = Node(home, clock, self.storage_of(place, clock), randomness)
        return Member(place, node, clock, self)


@dataclass
class Member:
    """One node of the tree, with the roles it has."""

    place: Place
    node: Node
    clock: VirtualClock
    maker: Maker
    members: dict[NodeId, int] = field(default_factory=dict)
    parent: Parent | None = None
    child: Child | None = None
    _read: int = 0

    def __post_init__(self) -> None:
        self._start()

    def restart(self) -> None:
        """Forget what is in memory and read again what is stored."""
        old = self.node
        self.node = Node(old.home, self.clock, old.storage, old.randomness)
        if self.maker.tidies:
            config = self.maker.config_of(self.place)
            self.node.tidy(config.retention.policy(is_device=old.home.is_device))
        self._start()

    def _start(self) -> None:
        place, node = self.place, self.node
        config = self.maker.config_of(place)
        engine = self.maker.problem.engine(place, node.home)
        corpus = self.maker.problem.corpus(place, node.home, config)
        if place.role is not Role.ROOT:
            self.child = self.maker.child_of(place, node, config, engine) or Child(
                node, config, engine, corpus
            )
        else:
            start_root(node)
        if place.role is not Role.DEVICE:
            settlement = self.maker.settlement_of(place, node, config, engine) or Settlement(
                node, config, engine, corpus
            )
            self.parent = Parent(node, config, engine, settlement)

    def turn(self, at_ms: int, mail: Mail | None, crash: bool = False) -> Turn:
        """Take what arrived, or let time pass, and say what comes of it.

        Args:
            crash: its process ended here and starts again from its storage.
        """
        self.clock.reach(at_ms)
        if crash:
            self.restart()
        sent = self._receive(mail) if mail else []
        sent += self._wake()
        steps = 0
        if self.place.role is Role.DEVICE and any(m.kind == "update" for m in sent):
            steps = self.maker.config_of(self.place).training.steps
        return Turn(tuple(sent), self._next_ms, tuple(self._reported()), self.rounds, steps)

    @property
    def rounds(self) -> int:
        """How many rounds it has closed."""
        state = self.node.state
        return state.rounds.next - 1 - (state.rounds.open is not None)

    @property
    def _finished(self) -> bool:
        limit = self.maker.limit_of(self.place)
        return limit is not None and self.rounds >= limit

    @property
    def _next_ms(self) -> int | None:
        return None if self.parent is None or self._finished else self.parent.next_ms

    def _wake(self) -> list[Mail]:
        if self.parent is None or self._finished:
            return []
        return self._tasks(self.parent.step())

    def _receive(self, mail: Mail) -> list[Mail]:
        """What does not verify is answered by nothing, as on a real link."""
        if mail.kind == "task":
            if self.child is None:
                return []
            try:
                kind, blobs = self.child.answer(mail.blobs)
            except Refused:
                return []
            return [Mail(self.place.id, mail.sender, kind, mail.task, blobs)]
        if self.parent is None:
            return []
        sender = self._id_of(self.maker.places[mail.sender])
        return self._tasks(self.parent.receive(sender, mail.task, mail.kind, mail.blobs))

    def _reported(self) -> Iterator[Reported]:
        """What its ledger has on rounds and refusals since the last turn."""
        if self.parent is None:
            return
        for entry in self.node.ledger.events(REPORTED, self._read):
            self._read, event = entry.seq, read(entry)
            measured = self.measured() if self._is_measured(event) else None
            yield Reported(entry.at_ms, event, measured)

    def _is_measured(self, event: LedgerEvent) -> bool:
        """Releases by rounds, every so many, and the last."""
        match event:
            case Released(kind=ReleaseKind.ROUND):
                return event.round % self.maker.measure_every == 0 or self._finished
        return False

    def measured(self) -> Measured:
        """How good its effective model is on held-out data of its scope."""
        return self.maker.problem.held_out(self.place, self.node.effective())

    def _id_of(self, place: Place) -> NodeId:
        found = [node for node, number in self.members.items() if number == place.id]
        return found[0] if found else NodeId("")

    def _tasks(self, requests: list[Request]) -> list[Mail]:
        return [
            Mail(self.place.id, self.members[request.child], "task", request.task, request.blobs)
            for request in requests
            if request.child in self.members
        ]


def settings(config: Mapping[str, Any]) -> NodeConfig:
    """A node's configuration from sections as ``node.toml`` has them, without files."""
    return NodeConfig(model=ModelSettings(base=Path("simulated")), **config)


def _transport_key(seed: int, place: Place) -> bytes:
    """A node's transport key, PEM: no connection is opened, but no two members share one."""
    number = int.from_bytes(SeededRandomness(seed_of(seed, "transport", place.id)).token(31))
    return ec.derive_private_key(number + 1, ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
