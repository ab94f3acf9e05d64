"""The post between simulated nodes: a virtual clock, links with delays, and who works when.

Events are taken in windows shorter than any link's delay. What happens in a window at one node can
reach no other before the window ends, so the nodes of a window may work at the same time, in other
processes or on other machines, and the outcome is the same as one by one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from simulations.world.members import Mail, Turn
from simulations.world.places import Place, Places

MOST_WINDOW_MS = 1000


@dataclass(frozen=True)
class Delivery:
    """Something that happens at one node: mail arrives, or time has passed (no mail)."""

    at_ms: int
    at: int
    mail: Mail | None = None
    crash: bool = False


class Host(Protocol):
    """Where the members live."""

    def turns(self, events: Sequence[Delivery]) -> list[Turn]:
        """What comes of events, in their order; those of one node one after another."""
        ...


@dataclass
class Traffic:
    """Bytes and messages on all links so far."""

    up_bytes: int = 0
    down_bytes: int = 0
    messages: int = 0


@dataclass
class Post:
    """Carries mail and lets time pass, until told to stop.

    Args:
        start_ms: when the world begins.
        seed: of who is switched off when.
        lost: whether mail that is sent at that time never arrives.
    """

    places: Places
    host: Host
    start_ms: int
    seed: int = 0
    lost: Callable[[Mail, int], bool] = lambda mail, now_ms: False
    traffic: Traffic = field(default_factory=Traffic)
    events: int = 0
    now_ms: int = 0
    _queue: list[tuple[int, int, Delivery]] = field(default_factory=list)
    _count: int = 0
    _wakes: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.now_ms = self.start_ms
        self._rng = np.random.default_rng((self.seed, 4))
        slowest = min(2 * place.machine.latency_s for place in self.places)
        self._window_ms = max(1, min(MOST_WINDOW_MS, int(1000 * slowest)))

    @property
    def elapsed_s(self) -> float:
        """Virtual seconds since the start."""
        return (self.now_ms - self.start_ms) / 1000

    def wake(self, number: int, at_ms: int) -> None:
        """Let time pass at a node then, unless that is already planned for earlier."""
        if self._wakes.get(number, at_ms + 1) > at_ms:
            self._wakes[number] = at_ms
            self._push(Delivery(at_ms, number))

    def crash(self, number: int, at_ms: int) -> None:
        """End the process of a node then; it starts again at once."""
        self._push(Delivery(at_ms, number, crash=True))

    def run(self, on_turn: Callable[[Delivery, Turn], None], until: Callable[[], bool]) -> None:
        """Go on until ``until`` says so after a window, or nothing is left to happen."""
        while self._queue and not until():
            events = self._window()
            for event, turn in zip(events, self.host.turns(events), strict=True):
                self.events += 1
                self.now_ms = max(self.now_ms, event.at_ms)
                self._carry(event, turn)
                on_turn(event, turn)

    def _window(self) -> list[Delivery]:
        """The next events, in order, that cannot touch one another."""
        ends = self._queue[0][0] + self._window_ms
        events: list[Delivery] = []
        while self._queue and self._queue[0][0] < ends:
            _, _, event = heapq.heappop(self._queue)
            if event.mail is None and not event.crash:
                if self._wakes.get(event.at) != event.at_ms:
                    continue  # it was planned anew
                del self._wakes[event.at]
            events.append(event)
        return events

    def _carry(self, event: Delivery, turn: Turn) -> None:
        place = self.places[event.at]
        worked_ms = round(1000 * turn.steps / place.machine.steps_per_s)
        for mail in turn.mail:
            leaves = event.at_ms + (worked_ms if mail.kind == "update" else 0)
            self._send(mail, leaves)
        if turn.next_ms is not None:
            # Not within this window: what is planned there was taken out already.
            self.wake(event.at, max(turn.next_ms, event.at_ms + 1))

    def _send(self, mail: Mail, leaves_ms: int) -> None:
        sender, to = self.places[mail.sender], self.places[mail.to]
        down = mail.kind == "task"
        self.traffic.messages += 1
        if down:
            self.traffic.down_bytes += mail.size
        else:
            self.traffic.up_bytes += mail.size
        if down and self._rng.random() >= to.machine.availability:
            return  # it is switched off; its parent asks again
        if self.lost(mail, leaves_ms):
            return
        self._push(Delivery(leaves_ms + _delay_ms(mail, sender, to), mail.to, mail))

    def _push(self, event: Delivery) -> None:
        self._count += 1
        heapq.heappush(self._queue, (event.at_ms, self._count, event))


def _delay_ms(mail: Mail, sender: Place, to: Place) -> int:
    """How long mail takes: the latency of both ends, and the bytes at the slower one's speed."""
    slower = min(sender.machine.bytes_per_s, to.machine.bytes_per_s)
    seconds = sender.machine.latency_s + to.machine.latency_s + mail.size / slower
    return max(1, round(1000 * seconds))
