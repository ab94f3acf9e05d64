"""Who is on-line when: arrivals, departures, partitions, and children that take turns.

A node that is off-line sends nothing and hears nothing; its state stays. Everything is known from
the settings, so that any process can say it for any moment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING

from simulations.world.members import Mail
from simulations.world.places import Place, Places

if TYPE_CHECKING:
    from simulations.experiment.settings import Schedule

Span = tuple[float, float]
"""From, until: milliseconds of the world's clock."""


@dataclass(frozen=True)
class Calendar:
    """When nodes are away.

    Attributes:
        away: of a node the spans in which it is off-line.
        apart: (span, nodes): within the span no mail passes between these nodes and others.
        turn_ms: children of a lowest scope are on-line for so long, one after another; 0: all are.
        rank: of each device its place among its siblings.
    """

    places: Places
    start_ms: int
    away: Mapping[int, Sequence[Span]]
    apart: Sequence[tuple[Span, frozenset[int]]]
    turn_ms: int
    siblings: Mapping[int, tuple[int, int]]

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
        if not self.turn_ms or number not in self.siblings:
            return False
        mine, count = self.siblings[number]
        return (now_ms - self.start_ms) // self.turn_ms % count != mine


def calendar(schedule: Schedule, places: Places, start_ms: int) -> Calendar:
    """Read an experiment's schedule."""
    away: dict[int, list[Span]] = {}
    apart: list[tuple[Span, frozenset[int]]] = []
    for event in sorted(schedule.events, key=lambda e: e.at_s):
        at_ms = start_ms + 1000 * event.at_s
        numbers = [place.id for place in matching(places, event.nodes)]
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
    siblings: dict[int, tuple[int, int]] = {}
    children = places.children()
    for place in places.lowest():
        for mine, child in enumerate(children[place.id]):
            siblings[child] = (mine, len(children[place.id]))
    return Calendar(places, start_ms, away, apart, round(1000 * schedule.turn_s), siblings)


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
