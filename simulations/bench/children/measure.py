"""What a parent takes while it serves its children, from outside: its processes and its ledger."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from nodes.machine.process_memory import proportional_bytes, with_descendants
from nodes.state.event_codec import read
from nodes.state.events import (
    Aggregated,
    Released,
    RoundClosed,
    RoundOpened,
    UpdateAccepted,
    UpdateRefused,
)
from nodes.state.ledger import Ledger
from protocol import ReleaseKind

EVERY_S = 0.25


@dataclass
class Round:
    """One round of the parent, from its ledger; times in ms since the epoch, 0 where there is none.

    Attributes:
        seated: children with a seat. refused: refusals by code.
        collected_ms: when the last update was seated. outcome: ``released``, or why not.
    """

    number: int
    members: int
    opened_ms: int
    seated: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    collected_ms: int = 0
    aggregated_ms: int = 0
    ended_ms: int = 0
    outcome: str = ""

    @property
    def seconds(self) -> float:
        """From its opening to its release."""
        return (self.ended_ms - self.opened_ms) / 1000

    @property
    def missing(self) -> int:
        """Children without a seat."""
        return self.members - len(self.seated)


def rounds_of(folder: Path) -> list[Round]:
    """Every round that a node's ledger tells of; the last may be open."""
    found: dict[int, Round] = {}
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        for entry in ledger.events():
            match event := read(entry):
                case RoundOpened():
                    found[event.round] = Round(event.round, event.members, entry.at_ms)
                case UpdateAccepted():
                    found[event.round].seated.add(event.child)
                    found[event.round].collected_ms = entry.at_ms
                case UpdateRefused() if event.round in found:
                    found[event.round].refused[event.code] += 1
                case Aggregated():
                    found[event.round].aggregated_ms = entry.at_ms
                case Released(kind=ReleaseKind.ROUND):
                    found[event.round].ended_ms, found[event.round].outcome = (
                        entry.at_ms,
                        "released",
                    )
                case RoundClosed():
                    made = found[event.round]
                    made.ended_ms, made.outcome = entry.at_ms, event.code or event.outcome
    return list(found.values())


@dataclass(frozen=True)
class Sample:
    """A process at one moment: bytes, CPU seconds so far, counts.

    ``pss`` and ``rss`` are of the process alone, ``all_pss`` with those below it; ``all_cpu``
    counts also those below it that have ended.
    """

    at_ms: int
    rss: int
    pss: int
    all_pss: int
    cpu: float
    all_cpu: float
    descriptors: int
    threads: int


class Watch:
    """Samples a process and those below it, from ``with`` to its end."""

    def __init__(self, pid: int) -> None:
        self._pid, self._process = pid, psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.samples.append(self._sample())
            except psutil.Error:  # it has ended
                return

    def _sample(self) -> Sample:
        process = self._process
        below = [pid for pid in with_descendants(self._pid) if pid != self._pid]
        times, pss = process.cpu_times(), proportional_bytes([self._pid])
        cpu = times.user + times.system
        running = sum(map(_cpu, below))
        return Sample(
            at_ms=time.time_ns() // 1_000_000,
            rss=process.memory_info().rss,
            pss=pss,
            all_pss=pss + proportional_bytes(below),
            cpu=cpu,
            all_cpu=cpu + times.children_user + times.children_system + running,
            descriptors=len(os.listdir(f"/proc/{self._pid}/fd")),  # noqa: PTH208
            threads=process.num_threads(),
        )

    def between(self, start_ms: int, end_ms: int) -> list[Sample]:
        """The samples of a stretch of time."""
        return [s for s in list(self.samples) if start_ms <= s.at_ms <= end_ms]


def _cpu(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def cpu_of(pids: Iterable[int]) -> float:
    """CPU seconds that these processes took so far."""
    return sum(map(_cpu, pids))


def warnings(folders: Iterable[Path]) -> Counter[str]:
    """What the children's logs complain of, by event and code."""
    found: Counter[str] = Counter()
    for folder in folders:
        for line in (folder / "node.jsonl").read_text("utf-8").splitlines():
            entry = json.loads(line)
            found[" ".join(filter(None, (entry["event"], entry.get("code", ""))))] += 1
    return found
