"""One world from its seed: its nodes, what may happen to them, what must hold after each step."""

from __future__ import annotations

import hashlib
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from nodes.child.child import Child, offer_source
from nodes.config.sections import NodeConfig
from nodes.learning.interfaces import Engine
from nodes.machine.clock import Clock
from nodes.state.interfaces import Storage
from nodes.state.node import Node
from protocol import Role
from simulations.chaos.byzantine import Conduct, DefectorsOffers, Enemy
from simulations.chaos.invariants import Broken, Invariant
from simulations.chaos.nature import nature
from simulations.chaos.person import Person
from simulations.chaos.post import Happening, Mailbox
from simulations.chaos.storage import Crash, Disk, Fuse
from simulations.chaos.watch import Watches
from simulations.experiment.settings import Attack
from simulations.world.attackers import ColludingOffers, colluders_below, encode_anything
from simulations.world.build import quiet
from simulations.world.members import START_MS, Maker, Turn
from simulations.world.places import Place
from simulations.world.storage import AppendFile

SHOWN = 20
"""Lines that a failure prints."""


class Trace:
    """What happened, a line a step: the last lines, and the digest of all."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._hash = hashlib.sha256()
        self._last: deque[str] = deque(maxlen=SHOWN)
        self.steps = 0

    def tell(self, now_ms: int, what: str) -> None:
        """One more step."""
        self.steps += 1
        line = f"{self.steps:5} {(now_ms - self._start_ms) / 1000:+12.3f}s {what}"
        self._hash.update(line.encode() + b"\n")
        self._last.append(line)

    @property
    def last(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._last)

    @property
    def digest(self) -> str:
        """SHA-256 of all lines, hexadecimal: the same for the same world."""
        return self._hash.hexdigest()


@dataclass
class World:
    """A tree and all that is done to it.

    Attributes:
        kinds: of faults that may happen.
        down: of each process that ended, when it starts again.
    """

    seed: int
    kinds: tuple[str, ...]
    counts: Counter[str] = field(default_factory=Counter)
    down: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        quiet()
        self.rng = random.Random(f"chaos {self.seed}")  # noqa: S311  what a simulation needs
        self.nature = nature(self.seed, self.kinds)
        self.file = AppendFile()
        self.disks: dict[int, Disk] = {}
        self.fuses: dict[int, Fuse] = {}
        self.conduct, self.trace = Conduct(), Trace(START_MS)
        places, config = self.nature.places, self.nature.config
        attack = Attack(name=self.nature.attack)
        problem = self.nature.problem
        self._colluders = colluders_below(attack, places, problem, self.seed, config.rounds)
        maker = Maker(
            places=places,
            problem=self.nature.problem,
            seed=self.seed,
            config_of=self._config_of,
            storage_of=self._storage_of,
            child_of=self._child_of,
            tidies=True,
        )
        self.members = maker.all()
        self.links = Mailbox(self.rng, self.nature.weather, START_MS)
        self.enemy = Enemy(self.rng, self.members)
        self.person = Person(self.rng, self.members, self.disks, Fuse())
        self.watches = Watches(self.members, self.disks)
        for place in places:
            if place.role is not Role.DEVICE:
                self.links.wake(place.id, START_MS)

    def close(self) -> None:
        """Let go of what was stored."""
        self.file.close()

    # -- what the maker asks

    def _config_of(self, place: Place) -> NodeConfig:
        config = self.nature.config
        training = config.training.model_copy(update={"mode": place.mode})
        return config.model_copy(update={"training": training})

    def _storage_of(self, place: Place, clock: Clock) -> Storage:
        disk = self.disks[place.id] = Disk.new(self.file, clock.now_ms)
        fuse = self.fuses[place.id] = Fuse()
        return disk.opened(fuse)

    def _child_of(
        self, place: Place, node: Node, config: NodeConfig, engine: Engine
    ) -> Child | None:
        if not place.attacker or place.parent is None:
            return None
        corpus = self.nature.problem.corpus(place, node.home, config)
        attack = ColludingOffers(place, self._colluders[place.parent], node, config)
        honest = offer_source(node, config, engine, corpus)
        offers = DefectorsOffers(self.conduct, attack, honest)
        return Child(node, config, engine, corpus, offers=offers, encode=encode_anything)

    # -- what happens

    def happen(self, happening: Happening) -> None:
        """Let one thing happen, check what must hold, and put on its way what comes of it."""
        number, mail = happening.to, happening.mail
        member = self.members[number]
        what = _told(happening, self.nature.places)
        now = self.links.now_ms
        if self.down.get(number, 0) > now or (number in self.down and happening.kind != "start"):
            self.trace.tell(now, f"{what}: it is down")
            return
        if mail is not None:
            self.watches.arrives(number, mail)
        try:
            turn = member.turn(now, mail, crash=happening.kind == "start")
        except Crash as crash:
            self.crashed(number, crash.where)
            self.trace.tell(now, f"{what}: crashed {crash.where}")
            self.watches.look(number)
            return
        except Exception as error:
            raise Broken(Invariant.NO_ERROR, f"{what}: {type(error).__name__}: {error}") from error
        self.down.pop(number, None)
        self._send(number, turn)
        self.watches.look(number)
        self.watches.check_memory(number)
        head = self.watches.head(number)
        sent = ", ".join(f"{m.kind} {self.nature.places[m.to].name}" for m in turn.mail)
        self.trace.tell(now, f"{what} -> {sent or 'nothing'} [{head[:6]}]")

    def crashed(self, number: int, where: str) -> None:
        """The process of a node has ended; it starts again after a while."""
        self.counts["crashes"] += 1
        seconds = self.rng.choice((0, 0, 1, 5, 90))
        self.down[number] = self.links.now_ms + 1000 * seconds
        self.links.start(number, self.down[number])

    def heard(self) -> None:
        """A person did something: look at it, and let every parent look soon, as daemons do."""
        for place in self.nature.places:
            self.watches.look(place.id)
            if place.role is not Role.DEVICE:
                self.links.wake(place.id, self.links.now_ms + 100)

    def _send(self, number: int, turn: Turn) -> None:
        for mail in turn.mail:
            self.watches.sent(number, mail)
            self.enemy.see(mail)
            self.links.send(mail)
        if turn.next_ms is not None:
            now, skew = self.links.now_ms, self.members[number].clock.skew_ms
            self.links.wake(number, max(turn.next_ms - skew, now + 10))


def _told(happening: Happening, places: Any) -> str:
    name, mail = places[happening.to].name, happening.mail
    if mail is None:
        return f"{name}: {happening.kind}"
    return f"{name} <- {mail.kind} {places[mail.sender].name} {mail.task[:12]}"
