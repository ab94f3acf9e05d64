"""Who is on-line when: arrivals, departures, partitions, and children that take turns.

A node that is off-line sends nothing and hears nothing; its state stays. Everything is known from
the settings, so that any process can say it for any moment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch

from nodes.errors import NodeError
from simulations.experiment.settings import Schedule
from simulations.world.members import Mail
from simulations.world.places import Place, Places

Span = tuple[float, float]
"""From, until: milliseconds of the world's clock."""


@dataclass(frozen=True)
class Calendar:
    """When nodes are away.

    Attributes:
        away: of a node the spans in which it is off-line.
        apart: (span, nodes): within the span no mail passes between these nodes and others.
        turn_ms: the lowest scopes, each with its devices, are on-line for so long, one after
            another; where there is only one, its devices are. 0: all are.
        order: who takes turns, by number, in their order.
        turn_of: of each node that takes turns, or hangs below one, its place in the order.
    """

    places: Places
    start_ms: int
    away: Mapping[int, Sequence[Span]]
    apart: Sequence[tuple[Span, frozenset[int]]]
    turn_ms: int
    order: Sequence[int]
    turn_of: Mapping[int, int]

    def lost(self, mail: Mail, now_ms: int) -> bool:
        """Whether mail that is sent now never arrives."""
        ends = (mail.sender, mail.to)
        return any(self.is_away(number, now_ms) for number in ends) or any(
            _within(span, now_ms) and (mail.sender in nodes) != (mail.to in nodes)
            for span, nodes in self.apart
        )

    def is_away(self, number: int, now_ms: int) -> bool:
        """Whether a node is off-line."""
        if any(_within(span, now_ms) for span in self.away.get(number, ())):
            return True
        if not self.turn_ms or number not in self.turn_of:
            return False
        return self.turns(now_ms) % len(self.order) != self.turn_of[number]

    def turns(self, now_ms: int) -> int:
        """How many turns are over."""
        return int((now_ms - self.start_ms) // self.turn_ms) if self.turn_ms else 0


def calendar(schedule: Schedule, places: Places, start_ms: int) -> Calendar:
    """Read an experiment's schedule. Raises ``NodeError`` ``bad-experiment``."""
    away: dict[int, list[Span]] = {}
    apart: list[tuple[Span, frozenset[int]]] = []
    for event in sorted(schedule.events, key=lambda e: e.at_s):
        at_ms = start_ms + 1000 * event.at_s
        numbers = [place.id for place in matching(places, event.nodes)]
        if not numbers:
            some = places.devices[0]
            raise NodeError(
                "bad-experiment",
                f'schedule.events: "{event.nodes}" fits no node. A device is called '
                f'"{some.name}" and lies at "{some.scope}/{some.name}".',
            )
        if event.kind == "arrive":
            for number in numbers:
                away.setdefault(number, []).append((-math.inf, at_ms))
        elif event.kind == "leave":
            for number in numbers:
                away.setdefault(number, []).append((at_ms, math.inf))
        elif event.kind == "partition":
            apart.append(((at_ms, math.inf), frozenset(numbers)))
        elif event.kind == "heal":
            healed = frozenset(numbers)
            apart = [
                ((since, at_ms), nodes)
                if nodes & healed and until == math.inf
                else ((since, until), nodes)
                for (since, until), nodes in apart
            ]
            for number in numbers:
                away[number] = [(s, min(u, at_ms)) for s, u in away.get(number, ())]
    lowest = [place.id for place in places.lowest()]
    order = lowest if len(lowest) > 1 else [place.id for place in places.devices]
    turn_of = {number: at for at, number in enumerate(order)}
    for place in places.devices:
        if place.parent in turn_of:
            turn_of[place.id] = turn_of[place.parent]
    return Calendar(places, start_ms, away, apart, round(1000 * schedule.turn_s), order, turn_of)


def matching(places: Places, pattern: str) -> list[Place]:
    """The nodes whose name or scope a pattern such as ``/en/*`` or ``device-7`` fits."""
    return [
        place
        for place in places
        if fnmatch(place.name, pattern) or fnmatch(f"{place.scope}/{place.name}", pattern)
    ]


def _within(span: Span, now_ms: int) -> bool:
    since, until = span
    return since <= now_ms < until
