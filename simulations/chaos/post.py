"""Mail and time in a rough world: what is sent is lost, doubled, late and out of order.

Everything that is to happen waits in one queue, ordered by the world's time.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from simulations.chaos.nature import Weather
from simulations.world.members import Mail

LATENCY_MS = (20, 2_000)
CALM = Weather(lost=0.0, doubled=0.0, late=0.0, latest_s=0.0)


class Happening(NamedTuple):
    """Mail arrives at a node, its process starts again, or time passes there."""

    at_ms: int
    number: int
    to: int
    kind: str
    mail: Mail | None


@dataclass
class Mailbox:
    """All links of one world.

    Attributes:
        apart: no mail passes between these nodes and the others.
    """

    rng: random.Random
    weather: Weather
    now_ms: int
    apart: frozenset[int] = frozenset()
    counts: Counter[str] = field(default_factory=Counter)
    _queue: list[Happening] = field(default_factory=list)
    _number: int = 0
    _wakes: dict[int, int] = field(default_factory=dict)

    def send(self, mail: Mail) -> None:
        """Put mail on its way, or not."""
        rng, weather = self.rng, self.weather
        if (mail.sender in self.apart) != (mail.to in self.apart):
            self.counts["cut off"] += 1
            return
        if rng.random() < weather.lost:
            self.counts["lost"] += 1
            return
        self._on_its_way(mail)
        if rng.random() < weather.doubled:
            self.counts["doubled"] += 1
            self._on_its_way(mail)

    def inject(self, mail: Mail) -> None:
        """Mail of somebody who does not wait and whose mail is never lost."""
        self._push(self.now_ms + self.rng.randint(1, LATENCY_MS[1]), mail.to, "mail", mail)

    def wake(self, to: int, at_ms: int) -> None:
        """Let time pass at a node then, unless that is planned for earlier."""
        if self._wakes.get(to, at_ms + 1) > at_ms:
            self._wakes[to] = at_ms
            self._push(at_ms, to, "wake", None)

    def start(self, to: int, at_ms: int) -> None:
        """Start the process of a node then."""
        self._push(at_ms, to, "start", None)

    def next(self) -> Happening | None:
        """What happens next; the world's time is then. None when everybody waits for a person."""
        while self._queue:
            found = heapq.heappop(self._queue)
            if found.kind == "wake":
                if self._wakes.get(found.to) != found.at_ms:
                    continue  # it was planned anew
                del self._wakes[found.to]
            self.now_ms = max(self.now_ms, found.at_ms)
            return found
        return None

    def _on_its_way(self, mail: Mail) -> None:
        rng, delay = self.rng, self.rng.randint(*LATENCY_MS)
        if rng.random() < self.weather.late:
            self.counts["late"] += 1
            delay += round(1000 * rng.random() * self.weather.latest_s)
        self._push(self.now_ms + delay, mail.to, "mail", mail)

    def _push(self, at_ms: int, to: int, kind: str, mail: Mail | None) -> None:
        self._number += 1
        heapq.heappush(self._queue, Happening(at_ms, self._number, to, kind, mail))
