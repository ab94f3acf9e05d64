"""``banyan sim year``: a year of one release a day on a clock of its own, on real disks.

Four production nodes (root, a tier, two devices) with real folders, ledgers, artefacts and
certificates, and with adapters of SmolLM2's size, so that nothing is scaled; only the model is a
point that moves a little every day, so that there is always something to learn. Memberships are
renewed over the services of production, hourly as a daemon does, without a network between; TLS
files likewise. Nodes start again every month, which verifies all that they have.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation.replay import ONLY_NEW, Portion
from nodes.child.child import Child
from nodes.config.sections import NodeConfig, TrainingSettings
from nodes.errors import NodeError
from nodes.learning.lesson import Lesson
from nodes.machine.clock import ManualClock
from nodes.model.coordinates import Coordinates
from nodes.model.layout import Layer, Layout
from nodes.model.learned import Learned
from nodes.model.probe import Probe
from nodes.parent.parent import Parent
from nodes.parent.settlement import Settlement
from nodes.parent.tasks import Request
from nodes.releases.publish import start_root
from nodes.state.home import open_home
from nodes.state.node import Node
from nodes.state.vectors import Vector
from nodes.trust.enrolment import enrol, join, make_request
from nodes.trust.network import init_network
from nodes.trust.renewal import answer_renewal, ask_renewal, install_renewed, renew_root
from nodes.trust.tls import TlsFiles, make_tls
from protocol import ProtocolError, ReleaseKind, Role, Scope, digest_of
from simulations.processes import Say
from simulations.soak.growth import disk_bytes
from simulations.soak.policy import LIMITS_MB, REAL_SIZE, Check
from simulations.world.members import settings
from simulations.world.problems import BareCorpus

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
RANK = 16
RESTART_DAYS = 30
TURNS = 6
"""Of every day: promotions and re-bases wait for each other."""
DRIFT, SCALE, PROBES = 0.02, 200.0, 256
PLAN = (
    ("root", "/", Role.ROOT, ""),
    ("en", "/en", Role.INTERIOR, "root"),
    ("one", "/en", Role.DEVICE, "en"),
    ("two", "/en", Role.DEVICE, "en"),
)
CONFIG: Mapping[str, Any] = {
    "rounds": {"deadline_s": 7200, "pause_s": 1, "retry_s": 60, "resend_s": 60},
    "promotion": {"after_s": 43_200},
}


@dataclass
class Drifting:
    """A quadratic loss around a target that moves; a probe weighs it a little more or less."""

    size: int
    seed: int = 0
    day: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)
        self.target: Vector = np.zeros(self.size, np.float32)
        self._weights = 1 + 0.1 * self._rng.standard_normal(PROBES)

    def move(self) -> None:
        """A day goes by."""
        self.day += 1
        self.target += np.float32(DRIFT) * self._rng.standard_normal(self.size, np.float32)

    def keep_loaded(self) -> AbstractContextManager[None]:
        """There is no model to keep in memory."""
        return nullcontext()

    def losses(
        self, thetas: Sequence[Vector], probes: Mapping[str, Sequence[Probe]]
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Of each effective model the losses by source; a probe is its number."""
        found = []
        for theta in thetas:
            apart = theta.astype(np.float64) - self.target
            loss = SCALE * float(apart @ apart) / self.size
            found.append(
                {
                    source: 1 + loss * self._weights[[int(str(name)) for name in names]]
                    for source, names in probes.items()
                }
            )
        return found

    def train(
        self,
        theta: Vector,
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        """Go nine tenths of the way."""
        delta = (0.9 * (self.target - theta)).astype(np.float32)
        seen = tuple(range(len(texts)))
        return Learned(delta, (1.0, 0.5), training.steps, 0.0, dict.fromkeys(old, 1), seen)


@dataclass
class Daily(BareCorpus):
    """One new document a day; whoever learned from it has nothing new until the next."""

    world: Drifting
    known: set[str] = field(default_factory=set)

    def lesson(self, reads: int) -> Lesson:
        """Today's document, or only what was learned before."""
        today = f"day {self.world.day}"
        fresh = {} if today in self.known else {today: today}
        old = {"days": ["an earlier day"]} if self.known else {}
        return Lesson(fresh, old, ONLY_NEW, None, None)

    def learned(self, ids: Iterable[str]) -> None:
        """Note what was learned from."""
        self.known = {*ids} or self.known


@dataclass
class Member:
    """One node, open, with the roles it has."""

    name: str
    node: Node
    config: NodeConfig
    engine: Drifting
    below: list[Member] = field(default_factory=list)
    parent: Parent | None = None

    def __post_init__(self) -> None:
        probes = {"all": [str(number) for number in range(PROBES)]}
        self._corpus = Daily({} if self.node.home.is_device else probes, self.engine)
        self.restart_roles()

    def restart_roles(self) -> None:
        """Make the roles anew from what is stored."""
        if not self.node.home.is_device:
            parts = (self.node, self.config, self.engine)
            settlement = Settlement(*parts, self._corpus)
            self.parent = Parent(*parts, settlement)

    def child(self) -> Child:
        """What answers its parent."""
        return Child(self.node, self.config, self.engine, self._corpus)

    def round(self) -> None:
        """Let its children answer what it asks now."""
        assert self.parent is not None  # noqa: S101  asked of parents
        waiting: list[Request] = list(self.parent.step())
        by_id = {member.node.home.id: member for member in self.below}
        while waiting:
            request = waiting.pop(0)
            kind, blobs = by_id[request.child].child().answer(request.blobs)
            waiting += self.parent.receive(request.child, request.task, kind, blobs)


@dataclass
class Year:
    """The network and what is found of it.

    Attributes:
        lapsed: what no longer verified, a sentence each.
        days: for each day the bytes on disk of every node, and the releases of every parent.
    """

    folder: Path
    size: int
    seed: int
    lapsed: list[str] = field(default_factory=list)
    days: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = ManualClock(1_800_000_000_000)
        self.engine = Drifting(self.size, self.seed)
        self.config = settings(CONFIG)
        self.members: dict[str, Member] = {}
        for name, scope, role, above in PLAN:
            folder = self.folder / name
            if not above:
                init_network(folder, "year", coordinates(self.size), self.clock)
            else:
                request = make_request(folder, name, Scope.parse(scope), role)
                bundle = enrol(self.members[above].node, request, ["127.0.0.1:9941"])
                join(folder, bundle, self.clock)
            member = self._open(name)
            self.members[name] = member
            if above:
                self.members[above].below.append(member)
        start_root(self.members["root"].node)

    def _open(self, name: str) -> Member:
        home = open_home(self.folder / name, self.clock.now_ms())
        return Member(name, Node(home, self.clock), self.config, self.engine)

    def close(self) -> None:
        """Close every ledger."""
        for member in self.members.values():
            member.node.close()

    def live(self, days: int, say: Say) -> None:
        """Let so many days pass; end early when something lapsed."""
        for day in range(1, days + 1):
            self.engine.move()
            for _ in range(TURNS):
                self.clock.advance(DAY_MS // TURNS)
                self._renew()
                for name in ("en", "root"):
                    try:
                        self._day_at(self.members[name])
                    except (NodeError, ProtocolError) as error:
                        self.lapsed.append(f"day {day}, {name}: {error.code}: {error.sentence}")
            self._check(day)
            if day % RESTART_DAYS == 0 and not self.lapsed:
                self._restart()
                say(f"day {day}: {self.days[-1]['bytes']}")
            if self.lapsed:
                say(self.lapsed[0])
                return

    def _day_at(self, member: Member) -> None:
        for _ in range(3):  # one may only end a round, and one may only re-base
            member.round()
            self.clock.advance(61_000)

    def _renew(self) -> None:
        """What daemons do every hour: renew memberships and TLS files."""
        now = self.clock.now_ms()
        renew_root(self.members["root"].node.home, now)
        moment = datetime.datetime.fromtimestamp(now / 1000, datetime.UTC)
        for name, _, role, above in PLAN:
            member = self.members[name]
            if role is not Role.DEVICE:
                make_tls(self.folder / name / "tls", identity=member.node.home.key, now=moment)
            if above:
                try:
                    home, parent = member.node.home, self.members[above].node
                    renewed = answer_renewal(parent, ask_renewal(home, now))
                    install_renewed(home, renewed.path, renewed.link, renewed.authority, now)
                except (NodeError, ProtocolError) as error:
                    self.lapsed.append(f"{name} was not renewed: {error.code}: {error.sentence}")

    def _check(self, day: int) -> None:
        """Verify what is on disk as a start would, and weigh it."""
        now = self.clock.now_ms()
        for name, _, role, _ in PLAN:
            try:
                open_home(self.folder / name, now)
            except (NodeError, ProtocolError) as error:
                self.lapsed.append(f"day {day}: {name}: {error.code}: {error.sentence}")
            if role is not Role.DEVICE:
                left = tls_days_left(self.folder / name / "tls", now)
                if left <= 0:
                    self.lapsed.append(f"day {day}: the TLS certificate of {name} ended")
        parents = {n: m for n, m in self.members.items() if m.parent is not None}
        self.days.append(
            {
                "day": day,
                "bytes": {n: disk_bytes(self.folder / n) for n in self.members},
                "releases": {
                    n: sum(p.kind is ReleaseKind.ROUND for p in m.node.state.own.published.values())
                    for n, m in parents.items()
                },
                "versions": {n: m.node.state.own.version for n, m in parents.items()},
            }
        )

    def _restart(self) -> None:
        """End every process and start it again, a month after the last time."""
        for name, member in self.members.items():
            member.node.close()
            _age(self.folder / name)
            fresh = self._open(name)
            policy = fresh.config.retention.policy(is_device=fresh.node.home.is_device)
            fresh.node.tidy(policy)
            member.node = fresh.node
            member.restart_roles()


def coordinates(size: int) -> Coordinates:
    """Of a base that is nothing but a number of values; its matrices A are named, not used."""
    layout = Layout((Layer("point", size // RANK, RANK),), RANK)
    basis = b"the identity"
    nothing = digest_of(f"a year of {size}".encode())
    return Coordinates(
        base=nothing,
        tokenizer=nothing,
        layout=layout.to_json(),
        layout_digest=layout.digest,
        basis=basis,
        rank=RANK,
        targets=("point",),
    )


def tls_days_left(folder: Path, now_ms: int) -> float:
    """Days until a parent's TLS certificate ends; negative when it has."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(
        TlsFiles.in_folder(folder).certificate.read_bytes()
    )
    return (certificate.not_valid_after_utc.timestamp() * 1000 - now_ms) / DAY_MS


def _age(folder: Path) -> None:
    """Make files as old as the month that passed: a store spares those of the last real hour."""
    for file in (folder / "artefacts").glob("??/*"):
        stamp = file.stat().st_mtime - 2 * HOUR_MS / 1000
        os.utime(file, (stamp, stamp))


def run_year(folder: Path, *, days: int, size: int, seed: int, say: Say) -> dict[str, Any]:
    """Let ``days`` pass below ``folder``; returns the report.

    Args:
        size: values of an adapter; by default a real one's. A smaller one is weighed as it is.
    """
    year = Year(folder, size, seed)
    try:
        year.live(days, say)
    finally:
        year.close()
    checks = [_complete(year, days), *_within(year), _nothing_lapsed(year)]
    return {
        "days": days,
        "size": size,
        "checks": [vars(check) for check in checks],
        "passed": all(check.holds for check in checks),
        "each_day": year.days,
    }


def _complete(year: Year, days: int) -> Check:
    last = year.days[-1]
    lived, releases = last["day"], last["releases"]["en"]
    return Check(
        f"{days} days with a release of /en on nearly every one",
        lived == days and releases >= 0.95 * days,
        f"{lived} days, {last['releases']} releases by rounds, versions {last['versions']}",
    )


def _within(year: Year) -> list[Check]:
    found = []
    for name, _, role, _ in PLAN:
        most = max(day["bytes"][name] for day in year.days) / 1e6
        limit = LIMITS_MB[role]
        whole = year.size >= REAL_SIZE
        real = "" if whole else f" at {year.size:,} values"
        found.append(
            Check(f"{name} stays below {limit:.0f} MB", most < limit, f"{most:.1f} MB{real}")
        )
    return found


def _nothing_lapsed(year: Year) -> Check:
    return Check("nothing lapses", not year.lapsed, "; ".join(year.lapsed[:3]))
