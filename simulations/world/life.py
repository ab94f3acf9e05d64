"""A world from its first round to its last, and the records of what happens in it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocol import Role
from simulations.experiment.folder import Record
from simulations.experiment.settings import Settings
from simulations.world.hosts import Hosts, LocalHost
from simulations.world.members import Maker, Told, Turn
from simulations.world.places import Place
from simulations.world.post import Event, Post
from simulations.world.problems import Measured
from simulations.world.schedule import Calendar, calendar, matching
from simulations.world.texts import Texts

MOST_DRAWN = 400
"""Nodes of a tree that a report draws one by one."""
SERVED = 200
"""How many points a curve of what devices are served has at most."""


@dataclass
class _Round:
    """What is known of the round that is open at one parent."""

    opened_ms: int = 0
    late: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class _Life:
    """A world from its first round to its last."""

    def __init__(
        self,
        given: Settings,
        maker: Maker,
        host: Hosts,
        record: Callable[[Record], None],
        tick: Callable[[float], None],
    ) -> None:
        self._given, self._maker, self._host = given, maker, host
        self._record, self._tick = record, tick
        places, start = maker.places, maker.start_ms
        self._calendar: Calendar = calendar(given.schedule, places, start)
        self._post = Post(places, host, start, maker.seed, self._calendar.lost)
        self._lowest = {place.id: 0 for place in places.lowest()}
        self._below = {
            number: sum(not places[c].attacker for c in children if places[c].role is Role.DEVICE)
            for number, children in places.children().items()
        }
        self._rounds: dict[int, _Round] = {}
        self._latest: dict[int, Measured] = {}
        self._done_ms: int | None = None
        self._served, self._told_s = 0, 0.0
        self._matrix: list[tuple[str, list[float]]] = []

    def run(self) -> None:
        """Let it live until every lowest scope has closed its rounds and the tiers have settled."""
        post, start = self._post, self._maker.start_ms
        for place in self._maker.places:
            if place.role is not Role.DEVICE:
                post.wake(place.id, start)
        for event in self._given.schedule.events:
            at_ms = start + round(1000 * event.at_s)
            hit = matching(self._maker.places, event.nodes)
            if event.kind == "crash":
                for place in hit:
                    post.crash(place.id, at_ms)
            self._note(event.at_s, event.kind, f"{event.nodes}: {len(hit)} nodes")
        post.run(self._took, self._is_over)
        self._tell_served(final=True)
        self._tell_traffic()
        self._look_back()
        self._tell_learned()
        self._tick(1.0)

    def told(self) -> dict[str, Any]:
        """How it ended."""
        traffic, devices = self._post.traffic, self._maker.places.devices
        return {
            "virtual_s": self._post.elapsed_s,
            "events": self._post.events,
            "final": self._final(),
            "up_bytes": traffic.up_bytes,
            "down_bytes": traffic.down_bytes,
            "messages": traffic.messages,
            "devices": len(devices),
            "rounds": sum(self._lowest.values()),
        }

    def _is_over(self) -> bool:
        run, post = self._given.run, self._post
        if run.until_s is not None and post.elapsed_s >= run.until_s:
            return True
        if self._done_ms is None:
            if all(rounds >= run.rounds for rounds in self._lowest.values()):
                self._done_ms = post.now_ms
            else:
                return False
        depth = max(place.scope.tier for place in self._maker.places)
        settles_ms = 2000 * self._given.rounds.retry_s * depth
        return post.now_ms >= self._done_ms + settles_ms

    def _took(self, event: Event, turn: Turn) -> None:
        if event.at in self._lowest and turn.rounds != self._lowest[event.at]:
            self._lowest[event.at] = turn.rounds
            whole = self._given.run.rounds * len(self._lowest)
            self._tick(min(1.0, sum(self._lowest.values()) / whole))
        for told in turn.told:
            self._tell(self._maker.places[event.at], told)
        self._look_back()

    # -- records

    def _tell(self, place: Place, told: Told) -> None:
        open_round, body = self._rounds.setdefault(place.id, _Round()), told.body
        match told.kind:
            case "round-opened":
                self._rounds[place.id] = _Round(told.at_ms, refused=open_round.refused)
            case "update-accepted":
                open_round.late += bool(body["late"])
            case "update-refused":
                code = body["code"]
                open_round.refused[code] = open_round.refused.get(code, 0) + 1
            case "released" if body["kind"] == "round":
                self._tell_round(place, told, open_round, "released")
                self._tell_loss(place, told)
            case "round-closed":
                self._tell_round(place, told, open_round, body["outcome"])

    def _tell_round(self, place: Place, told: Told, open_round: _Round, outcome: str) -> None:
        verdicts = [verdict["verdict"] for verdict in told.body.get("verdicts", ())]
        self._record(
            {
                "kind": "round",
                "at_s": self._at_s(told),
                "scope": str(place.scope),
                "tier": place.tier,
                "round": told.body["round"],
                "outcome": outcome,
                "version": told.body.get("held", {}).get("version"),
                "step": told.body.get("step"),
                "accepted": verdicts.count("accepted"),
                "outvoted": verdicts.count("outvoted"),
                "stand_ins": verdicts.count("stand-in"),
                "late": open_round.late,
                "refused": open_round.refused,
                "seconds": (told.at_ms - open_round.opened_ms) / 1000,
            }
        )
        self._rounds[place.id] = _Round()

    def _tell_loss(self, place: Place, told: Told) -> None:
        if told.measured is None:
            return
        self._latest[place.id] = told.measured
        self._record(
            {
                "kind": "loss",
                "at_s": self._at_s(told),
                "round": told.body["round"],
                "scope": str(place.scope),
                "tier": place.tier,
                "loss": told.measured.loss,
                "base": told.measured.base,
                "best": told.measured.best,
            }
        )
        if place.id in self._lowest:
            self._served += 1
            if self._is_time_to_tell():
                self._tell_served()

    def _is_time_to_tell(self) -> bool:
        """Whether a curve needs another point: by time where that ends the run, else by rounds."""
        run, elapsed = self._given.run, self._post.elapsed_s
        if run.until_s is not None:
            if elapsed - self._told_s < run.until_s / SERVED:
                return False
            self._told_s = elapsed
            return True
        return self._served % max(1, run.rounds * len(self._lowest) // SERVED) == 0

    def _tell_served(self, final: bool = False) -> None:
        """What devices are served: the mean over the scopes that they hang below."""
        served = self._mean()
        if served is None:
            return
        self._record(
            {
                "kind": "loss",
                "at_s": self._post.elapsed_s,
                "round": round(sum(self._lowest.values()) / len(self._lowest)),
                "scope": "*",
                "tier": "device",
                **served,
            }
        )
        if not final:
            self._tell_traffic()

    def _mean(self) -> dict[str, float | None] | None:
        """Over the lowest scopes, by their honest devices. Who never released has the base."""
        found = [
            (self._latest.get(number) or self._nothing(number), self._below[number])
            for number in self._lowest
        ]
        weights = [weight for _, weight in found]
        if not sum(weights):
            return None
        bests = [of.best for of, _ in found if of.best is not None]
        return {
            "loss": float(np.average([of.loss for of, _ in found], weights=weights)),
            "base": float(np.average([of.base for of, _ in found], weights=weights)),
            "best": float(np.average(bests, weights=weights)) if len(bests) == len(found) else None,
        }

    def _nothing(self, number: int) -> Measured:
        zero = np.zeros(self._maker.problem.layout.size, np.float32)
        if number not in self._latest:
            self._latest[number] = self._maker.problem.held_out(self._maker.places[number], zero)
        return self._latest[number]

    def _final(self) -> dict[str, Any]:
        served = self._mean() or {}
        loss, base = served.get("loss"), served.get("base")
        gain = base - loss if loss is not None and base is not None else None
        tiers: dict[str, list[float]] = {}
        for number, measured in sorted(self._latest.items()):  # from the root downwards
            tiers.setdefault(self._maker.places[number].tier, []).append(measured.loss)
        return served | {
            "gain": gain,
            **{f"loss_{tier}": float(np.mean(losses)) for tier, losses in tiers.items()},
        }

    def _tell_traffic(self) -> None:
        traffic = self._post.traffic
        self._record(
            {
                "kind": "traffic",
                "at_s": self._post.elapsed_s,
                "up_bytes": traffic.up_bytes,
                "down_bytes": traffic.down_bytes,
                "messages": traffic.messages,
            }
        )

    def _look_back(self) -> None:
        """Where nodes take turns: what their parent knows of every domain after each turn."""
        problem, order = self._maker.problem, self._calendar.order
        turns = self._calendar.turns(self._post.now_ms)
        if turns <= len(self._matrix) or len(self._matrix) >= len(order):
            return
        if not isinstance(problem, Texts) or not isinstance(self._host, LocalHost):
            return
        places = [self._maker.places[number] for number in order]
        assert places[0].parent is not None  # noqa: S101  a root takes no turns
        parent = self._host.members[places[0].parent]
        known = problem.losses_by_domain(parent.node.effective())
        learned = problem.domain_of(places[len(self._matrix)])
        self._matrix.append((learned, [known[problem.domain_of(place)] for place in places]))

    def _tell_learned(self) -> None:
        if not self._matrix:
            return
        self._record(
            {
                "kind": "matrix",
                "name": "loss after each turn",
                "rows": [name for name, _ in self._matrix],
                "columns": [name for name, _ in self._matrix],
                "losses": [row[: len(self._matrix)] for _, row in self._matrix],
            }
        )

    def _note(self, at_s: float, what: str, text: str) -> None:
        self._record({"kind": "note", "at_s": at_s, "what": what, "text": text})

    def _at_s(self, told: Told) -> float:
        return (told.at_ms - self._maker.start_ms) / 1000


def live_in(
    given: Settings,
    maker: Maker,
    host: Hosts,
    record: Callable[[Record], None],
    tick: Callable[[float], None],
    started: float,
) -> None:
    """Let a world live in a host, and record it to its end.

    Args:
        started: by ``time.perf_counter``, when the cell began.
    """
    life = _Life(given, maker, host, record, tick)
    life.run()
    usage = host.usage()
    record(
        {
            "kind": "done",
            "wall_s": time.perf_counter() - started,
            "cpu_s": usage.cpu_s,
            "peak_bytes": usage.peak_bytes,
            **life.told(),
        }
    )


def topology(maker: Maker) -> Record:
    """The record of a tree."""
    places = maker.places
    counts: dict[str, int] = {}
    for place in places:
        counts[place.tier] = counts.get(place.tier, 0) + 1
    drawn = places if len(places) <= MOST_DRAWN else ()
    return {
        "kind": "topology",
        "nodes": [
            {
                "id": place.id,
                "parent": place.parent,
                "scope": str(place.scope),
                "tier": place.tier,
                "name": place.name,
                "attacker": place.attacker,
                "rank": place.machine.rank,
                "speed": place.machine.steps_per_s,
                "domain": _domain(maker, place),
            }
            for place in drawn
        ],
        "counts": counts,
    }


def _domain(maker: Maker, place: Place) -> str:
    if isinstance(maker.problem, Texts) and place.domain >= 0:
        return maker.problem.domain_of(place)
    return ""
