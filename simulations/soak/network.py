"""A small network of real processes that goes on learning: four tiers, five devices, fresh text.

Everything that a node does with its children happens here: rounds at three parents, promotions to
the root, re-bases below. Devices learn from documents that arrive in a watched folder, so that
there is always something new.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

import numpy as np

from nodes.daemon import run
from nodes.dashboard.status import Status, StatusReader
from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.releases.publish import publish_by_hand
from nodes.state.home import open_home
from nodes.state.node import Node
from protocol import Role, Scope, encode_adapter
from simulations.datasets import hpo, icd10
from simulations.datasets.split import split
from simulations.datasets.tiny import tiny_base
from simulations.demo.network import Placed, build_network
from simulations.demo.plan import QUICK, DemoScale, NodePlan
from simulations.processes import Supervisor

INBOX = "inbox"
"""The watched folder of a device, in its state folder."""
SOAK = replace(
    QUICK,
    releases=10**9,
    training={**QUICK.training, "steps": 10},
    rounds={
        "deadline_s": 30,
        "resend_s": 10,
        "grace": 0.5,
        "retry_s": 2,
        "pause_s": 1,
        "poll_s": 0.2,
    },
)
SCOPES = {"/": 0, "/en": 0, "/en/heart": 3, "/es": 2}
"""Every scope with the number of its devices."""
SYSTEMS = {"/en/heart": tuple(hpo.SYSTEMS), "/es": ("circulatory", "respiratory", "nervous")}
"""What devices below each scope read: organ systems in English, chapters in Spanish."""
SHARES = {"train": 0.7, "probes": 0.2, "held": 0.1}
FIRST = 40
"""Documents that a device has when it starts; the rest arrives."""


@dataclass
class Text:
    """What the devices of one scope read, divided; ``train`` is dealt to them in turn."""

    train: list[str]
    probes: list[str]
    held: list[str]


def texts(seed: int) -> Mapping[str, Text]:
    """The text of every lowest scope. Raises ``NodeError`` ``no-data`` without the packages."""
    found = {}
    for scope, names in SYSTEMS.items():
        of_name = hpo.definitions if scope.startswith("/en") else _spanish
        documents = [document for name in names for document in of_name(name)]
        found[scope] = Text(**split(documents, SHARES, f"soak {seed}".encode()))
    return found


def _spanish(chapter: str) -> list[str]:
    return icd10.names("es", chapter)


def plans(dealt: Mapping[str, Text], scale: DemoScale = SOAK) -> list[NodePlan]:
    """All nodes, parents before children."""
    en, es = (text.probes for text in dealt.values())
    count = scale.probes
    made: list[NodePlan] = []
    for number, (path, devices) in enumerate(SCOPES.items()):
        scope = Scope.parse(path)
        role = Role.ROOT if scope == Scope() else Role.INTERIOR
        own = slice(number * count, (number + 1) * count)
        probes = {"en": en[own], "es": es[own]}
        if role is not Role.ROOT:
            probes = {path[1:3]: probes[path[1:3]]}
        name = path.strip("/").replace("/", "-") or "root"
        more = {"gate": {"alpha": 0.5, "each": count // 2}}
        made.append(NodePlan(name, scope, role, probes=probes, more=more))
        for device in range(devices):
            train = tuple(dealt[path].train[device::devices][:FIRST])
            watch = {"data": {"watch": INBOX, "rest_s": 0.5}}
            device_name = f"{name}-{device + 1}"
            made.append(NodePlan(device_name, scope, Role.DEVICE, train=train, more=watch))
    return made


@dataclass
class Network:
    """A network on disk and the processes that run it; ended with its supervisor.

    Attributes:
        base: the base of all nodes.
        processes: of each node that was started, the latest process, by its name.
    """

    folder: Path
    seed: int
    base: Path
    placed: list[Placed]
    supervisor: Supervisor
    dealt: Mapping[str, Text]
    processes: dict[str, BaseProcess] = field(default_factory=dict)
    _readers: dict[str, StatusReader] = field(default_factory=dict)
    _fed: dict[str, int] = field(default_factory=dict)
    _published: int = 0

    def __post_init__(self) -> None:
        self.nodes = {place.plan.name: place for place in self.placed}
        for place in self.devices:
            (place.folder / INBOX).mkdir(exist_ok=True)

    @property
    def devices(self) -> list[Placed]:
        """The devices."""
        return [place for place in self.placed if place.plan.role is Role.DEVICE]

    @property
    def parents(self) -> list[Placed]:
        """The nodes with children."""
        return [place for place in self.placed if place.plan.role is not Role.DEVICE]

    def parent_of(self, name: str) -> Placed:
        """The parent of a node."""
        scope = self.nodes[name].plan.parent_scope
        return next(place for place in self.parents if place.plan.scope == scope)

    def start(self, *names: str) -> None:
        """Start the processes of these nodes; of all without names."""
        for name in names or self.nodes:
            folder = self.nodes[name].folder
            process = self.supervisor.start(
                run, folder / "node.toml", log=folder / "logs" / "console.log"
            )
            process.name = name
            self.processes[name] = process

    def kill(self, name: str) -> None:
        """SIGKILL a node and wait until it is gone."""
        self.processes[name].kill()
        self.processes[name].join()

    def stop(self, name: str) -> None:
        """SIGTERM a node and wait until it is gone."""
        self.processes[name].terminate()
        self.processes[name].join()

    def dead(self) -> Iterator[tuple[str, int]]:
        """The nodes whose latest process has ended, with its exit status."""
        for name, process in self.processes.items():
            if process.exitcode is not None:
                yield name, process.exitcode

    def status(self, name: str) -> Status:
        """What a node's ledger says now."""
        reader = self._readers.setdefault(name, StatusReader(self.nodes[name].folder))
        return reader.read()

    def wait_for_releases(self, limit_s: float) -> None:
        """Wait until a round of every lowest scope has made a release.

        Raises ``NodeError``: ``node-died``, ``too-slow``.
        """
        lowest = [p.plan.name for p in self.parents if SCOPES[str(p.plan.scope)]]
        for _ in wait_until(time.monotonic() + limit_s):
            for name, status in self.dead():
                raise NodeError("node-died", f"{name} ended with status {status}; see its log.")
            if all(self.status(name).releases["round"] for name in lowest):
                return
        raise NodeError("too-slow", f"After {limit_s:.0f} s not every scope has a release.")

    def feed(self, documents: int) -> None:
        """Let the next documents arrive at every device; what has all gets no more."""
        for place in self.devices:
            scope, name = str(place.plan.scope), place.plan.name
            devices = SCOPES[scope]
            own = self.dealt[scope].train[int(name.rpartition("-")[2]) - 1 :: devices]
            at = self._fed.get(name, FIRST)
            self._fed[name] = at + documents
            if batch := own[at : at + documents]:
                file = place.folder / INBOX / f"{at:06}.txt"
                file.with_suffix(".part").write_text("\n".join(batch), "utf-8")
                file.with_suffix(".part").replace(file)

    def publish(self, name: str) -> int:
        """Release a tiny adapter by hand, beside the running daemon; returns the version."""
        self._published += 1
        rng = np.random.default_rng((self.seed, self._published))
        clock = SystemClock()
        owner = Node(open_home(self.nodes[name].folder, clock.now_ms()), clock)
        try:
            moved = (1e-6 * rng.standard_normal(owner.size)).astype(np.float32)
            return publish_by_hand(owner, encode_adapter(moved))
        finally:
            owner.close()


def make(folder: Path, seed: int, supervisor: Supervisor, scale: DemoScale = SOAK) -> Network:
    """Build a network below ``folder``; nothing runs yet."""
    dealt = texts(seed)
    base = tiny_base(folder.parent / "base")
    placed = build_network(folder, base, plans(dealt, scale), scale, f_cardiology=False)
    return Network(folder, seed, base, placed, supervisor, dealt)


def wait_until(deadline: float, every_s: float = 1.0) -> Iterator[float]:
    """Yield the monotonic time again and again until it is ``deadline``."""
    while (now := time.monotonic()) < deadline:
        yield now
        time.sleep(max(0.0, min(every_s, deadline - time.monotonic())))
