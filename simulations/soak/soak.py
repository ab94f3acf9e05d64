"""``banyan sim soak``: watch a network of real processes for a while, with a child that is away.

Every daemon is sampled; at the end each measure is judged by its second half, when caches are full
and text has come and gone. The child is stopped until its parent is so many versions on, then it
comes back and must follow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nodes.errors import NodeError
from nodes.state.event_codec import read
from nodes.state.events import Released, RoundClosed, RoundOpened
from nodes.state.ledger import Ledger
from nodes.state.node_state import NodeState
from protocol import ReleaseKind, Role
from simulations.demo.run import ENVIRONMENT
from simulations.processes import Say, Supervisor, terminable
from simulations.soak.growth import Sample, sample, slope
from simulations.soak.network import Network, make, wait_until
from simulations.soak.policy import Check, within_policy

AWAY = "en-heart-3"
"""The child that is away for a while."""
AWAY_FROM, BACK_BY = 0.2, 0.6
"""The shares of the whole time between which it is away at most."""
START_LIMIT_S = 300.0
FOLLOW_LIMIT_S = 120.0
"""The first releases come within this, also on a busy machine."""
FEED_S, FEED_DOCUMENTS = 60.0, 4
SLOPE_MB_PER_HOUR = 5.0
DESCRIPTORS = 2
"""By so many may the median of the last quarter exceed that of the third: connections vary."""


@dataclass
class Soak:
    """One run, sample by sample."""

    network: Network
    seconds: float
    every_s: float
    versions: int
    say: Say
    samples: list[Sample] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    away_versions: int = 0
    away_s: float = 0.0
    back_after_s: float | None = None

    def run(self) -> None:
        """Run the network for its time, from its first releases on."""
        network, parent = self.network, self.network.parent_of(AWAY).plan.name
        network.start()
        network.wait_for_releases(START_LIMIT_S)
        started = time.monotonic()
        next_sample = next_feed = started
        left = back = 0.0
        version = target = 0
        for now in wait_until(started + self.seconds, every_s=0.5):
            share = (now - started) / self.seconds
            self._note_dead(away=bool(left) and not back)
            if now >= next_feed:
                network.feed(FEED_DOCUMENTS)
                next_feed += FEED_S
            if not left and share >= AWAY_FROM:
                network.stop(AWAY)
                left, version = now, network.status(parent).version
                self.say(f"{AWAY} is away from version {version} of {parent}")
                next_version = now
            elif left and not back:
                if now >= next_version and network.status(parent).version < version + self.versions:
                    network.publish(parent)
                    window = (BACK_BY - AWAY_FROM) * self.seconds
                    next_version = now + 0.8 * window / self.versions
                target = network.status(parent).version
                if target >= version + self.versions or share >= BACK_BY:
                    network.start(AWAY)
                    back, self.away_versions = now, target - version
                    self.away_s = back - left
                    self.say(f"{AWAY} is back after {self.away_versions} versions")
            elif back and self.back_after_s is None and installed(network, AWAY) >= target:
                self.back_after_s = time.monotonic() - back
                self.say(f"{AWAY} follows again after {self.back_after_s:.1f} s")
            if now >= next_sample:
                self._sample(now - started)
                next_sample += self.every_s
        self._sample(self.seconds)
        if back and self.back_after_s is None:  # a short run ends soon after it came back
            for now in wait_until(time.monotonic() + FOLLOW_LIMIT_S, every_s=0.5):
                if installed(network, AWAY) >= target:
                    self.back_after_s = now - back
                    break

    def _note_dead(self, *, away: bool) -> None:
        """A node that ended by itself is noted and started again, as a person would."""
        for name, status in list(self.network.dead()):
            if away and name == AWAY:
                continue
            self.died.append(f"{name} ended with status {status}")
            self.say(self.died[-1])
            self.network.start(name)

    def _sample(self, at_s: float) -> None:
        for name, place in self.network.nodes.items():
            process = self.network.processes[name]
            pid = process.pid if process.is_alive() else None
            status = self.network.status(name)
            self.samples.append(sample(name, place.folder, pid, status, at_s))

    def report(self) -> dict[str, Any]:
        """Judge the run; everything a reader needs, as JSON values."""
        rows = [self._row(name) for name in self.network.nodes]
        checks = [*self._checks(rows), *within_policy(self.network)]
        return {
            "minutes": self.seconds / 60,
            "every_s": self.every_s,
            "away": {
                "node": AWAY,
                "versions": self.away_versions,
                "seconds": self.away_s,
                "followed_after_s": self.back_after_s,
            },
            "nodes": rows,
            "checks": [asdict(check) for check in checks],
            "passed": all(check.holds for check in checks),
            "samples": [asdict(one) for one in self.samples],
        }

    def _row(self, name: str) -> dict[str, Any]:
        own = [one for one in self.samples if one.node == name and one.pss]
        half = [one for one in own if one.at_s >= self.seconds / 2]
        third = [one.descriptors for one in half if one.at_s < self.seconds * 3 / 4]
        last = [one.descriptors for one in half if one.at_s >= self.seconds * 3 / 4]
        status = self.network.status(name)
        return {
            "node": name,
            "role": self.network.nodes[name].plan.role.value,
            "pss_mb": _middle([one.pss / 1e6 for one in half]),
            "pss_peak_mb": max((one.pss / 1e6 for one in own), default=0.0),
            "slope_mb_per_hour": slope([(one.at_s / 3600, one.pss / 1e6) for one in half]),
            "descriptors_third": _middle(third),
            "descriptors_last": _middle(last),
            "disk_mb": own[-1].disk / 1e6 if own else 0.0,
            "disk_mb_per_hour": slope([(one.at_s / 3600, one.disk / 1e6) for one in half]),
            "rounds": status.round,
            "releases": dict(status.releases),
            "version": status.version,
        }

    def _idle(self, row: dict[str, Any]) -> bool:
        return bool(row["role"] != Role.DEVICE.value and row["rounds"] == 0)

    def _checks(self, rows: Sequence[dict[str, Any]]) -> list[Check]:
        steep = [r for r in rows if r["slope_mb_per_hour"] >= SLOPE_MB_PER_HOUR]
        leaking = [r for r in rows if r["descriptors_last"] > r["descriptors_third"] + DESCRIPTORS]
        rounds = [
            problem for place in self.network.parents for problem in open_rounds(place.folder)
        ]
        idle = [f"{row['node']} opened no round" for row in rows if self._idle(row)]
        wanted = self.away_versions >= self.versions
        back = self.back_after_s
        return [
            Check("no daemon ended", not self.died, "; ".join(self.died)),
            Check("all rounds are complete", not rounds and not idle, "; ".join([*rounds, *idle])),
            Check(
                f"{AWAY} was away for {self.versions} versions and follows again",
                wanted and back is not None,
                f"{self.away_versions} versions, "
                + ("never followed" if back is None else f"followed after {back:.1f} s"),
            ),
            Check(
                f"memory grows by less than {SLOPE_MB_PER_HOUR:g} MB an hour in the second half",
                not steep,
                _named(steep, "slope_mb_per_hour", "MB/h"),
            ),
            Check(
                "descriptors are constant in the second half",
                not leaking,
                _named(leaking, "descriptors_last", "open"),
            ),
        ]


MOVED_ON = "moved-on"
"""How a round ends while an operator releases by hand again and again: its candidate was judged on
a model that is no longer the node's."""


def open_rounds(folder: Path) -> list[str]:
    """Say which rounds of a parent never ended, or failed of themselves; its last one may be open
    still."""
    waiting: set[int] = set()
    latest, problems = 0, []
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        for event in map(read, ledger.events()):
            match event:
                case RoundOpened():
                    waiting.add(event.round)
                    latest = event.round
                case RoundClosed():
                    waiting.discard(event.round)
                    if event.outcome == "failed" and event.code != MOVED_ON:
                        problems.append(f"round {event.round} of {folder.name}: {event.sentence}")
                case Released(kind=ReleaseKind.ROUND):
                    waiting.discard(event.round)
    return problems + [f"round {n} of {folder.name} is open" for n in waiting - {latest}]


def installed(network: Network, name: str) -> int:
    """The version of its parent that a node follows; 0 without any."""
    with Ledger.open_read_only(network.nodes[name].folder / "ledger.sqlite") as ledger:
        links = NodeState.from_ledger(ledger).above.links
    return links[-1].version if links else 0


def _middle(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0


def _named(rows: Sequence[dict[str, Any]], key: str, unit: str) -> str:
    return ", ".join(f"{row['node']} {row[key]:.1f} {unit}" for row in rows)


def run_soak(
    folder: Path, *, minutes: float, versions: int, every_s: float, seed: int, say: Say
) -> dict[str, Any]:
    """Run a soak below ``folder``; writes ``soak.json`` and returns what it holds.

    Raises ``NodeError`` ``exists`` when the folder holds nodes already.
    """
    nodes = folder / "nodes"
    if nodes.exists():
        raise NodeError("exists", f"{folder} holds an earlier run; remove it or name another.")
    folder.mkdir(parents=True, exist_ok=True)
    # Not forked from one server: pages that forks share until one of them is written to would count
    # as growth.
    with terminable(), Supervisor(ENVIRONMENT) as supervisor:
        network = make(nodes, seed, supervisor)
        soak = Soak(network, 60 * minutes, every_s, versions, say)
        soak.run()
    report = soak.report()
    (folder / "soak.json").write_text(json.dumps(report, indent=1), "utf-8")
    return report
