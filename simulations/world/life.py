"""A world from its first round to its last, and the records of what happens in it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nodes.state.events import Released, RoundClosed, RoundOpened, UpdateAccepted, UpdateRefused
from protocol import ReleaseKind, Role, VerdictKind
from simulations.experiment.settings import Settings
from simulations.records import (
    DoneRecord,
    LossRecord,
    MatrixRecord,
    NodeEntry,
    NoteRecord,
    Recorder,
    RoundRecord,
    TopologyRecord,
    TrafficRecord,
)
from simulations.world.hosts import Hosts, LocalHost, Usage
from simulations.world.members import Maker, Reported, Turn
from simulations.world.places import Place
from simulations.world.post import Delivery, Post
from simulations.world.problems import Measured
from simulations.world.schedule import Calendar, calendar, matching
from simulations.world.texts import Texts

MOST_LISTED = 400
"""A tree of more nodes is recorded by its counts alone."""
MOST_POINTS = 200
"""Points of the curve of what devices are served."""


@dataclass
class _Round:
    """The round that is open at one parent."""

    opened_ms: int = 0
    late: int = 0
    refused: dict[str, int] = field(default_factory=dict)


class Life:
    """A world from its first round to its last."""

    def __init__(
        self,
        given: Settings,
        maker: Maker,
        host: Hosts,
        record: Recorder,
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
        self._measured, self._point_at_s = 0, 0.0
        self._matrix: list[tuple[str, list[float]]] = []

    def run(self) -> None:
        """Run until every lowest scope has closed its rounds and the tiers have settled."""
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
            text = f"{event.nodes}: {len(hit)} nodes"
            self._record(NoteRecord(at_s=event.at_s, what=event.kind, text=text))
        post.run(self._took, self._is_over)
        self._record_served(final=True)
        self._record_traffic()
        self._measure_turns()
        self._record_matrix()
        self._tick(1.0)

    def ending(self, wall_s: float, usage: Usage) -> DoneRecord:
        """Make the last record, of a cell that took ``wall_s`` seconds and ``usage``."""
        traffic = self._post.traffic
        return DoneRecord(
            wall_s=wall_s,
            cpu_s=usage.cpu_s,
            peak_bytes=usage.peak_bytes,
            virtual_s=self._post.elapsed_s,
            events=self._post.events,
            final=self._final(),
            up_bytes=traffic.up_bytes,
            down_bytes=traffic.down_bytes,
            messages=traffic.messages,
            devices=len(self._maker.places.devices),
            rounds=sum(self._lowest.values()),
        )

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

    def _took(self, event: Delivery, turn: Turn) -> None:
        if event.at in self._lowest and turn.rounds != self._lowest[event.at]:
            self._lowest[event.at] = turn.rounds
            whole = self._given.run.rounds * len(self._lowest)
            self._tick(min(1.0, sum(self._lowest.values()) / whole))
        for reported in turn.reported:
            self._record_event(self._maker.places[event.at], reported)
        self._measure_turns()

    # -- records

    def _record_event(self, place: Place, reported: Reported) -> None:
        open_round = self._rounds.setdefault(place.id, _Round())
        match reported.event:
            case RoundOpened():
                self._rounds[place.id] = _Round(reported.at_ms, refused=open_round.refused)
            case UpdateAccepted() as accepted:
                open_round.late += accepted.late
            case UpdateRefused() as refused:
                open_round.refused[refused.code] = open_round.refused.get(refused.code, 0) + 1
            case Released(kind=ReleaseKind.ROUND) as released:
                number = released.round
                self._record_round(place, reported.at_ms, open_round, number, "released", released)
                self._record_loss(place, reported.at_ms, number, reported.measured)
            case RoundClosed() as closed:
                self._record_round(place, reported.at_ms, open_round, closed.round, closed.outcome)

    def _record_round(
        self,
        place: Place,
        at_ms: int,
        open_round: _Round,
        number: int,
        outcome: str,
        release: Released | None = None,
    ) -> None:
        """Record a closed round, and the release that it made if it made one."""
        verdicts = [verdict.verdict for verdict in release.verdicts] if release else []
        self._record(
            RoundRecord(
                at_s=self._at_s(at_ms),
                scope=str(place.scope),
                tier=place.tier,
                round=number,
                outcome=outcome,
                version=release.held.version if release else None,
                step=release.step if release else None,
                accepted=verdicts.count(VerdictKind.ACCEPTED),
                outvoted=verdicts.count(VerdictKind.OUTVOTED),
                stand_ins=verdicts.count(VerdictKind.STAND_IN),
                late=open_round.late,
                refused=open_round.refused,
                seconds=(at_ms - open_round.opened_ms) / 1000,
            )
        )
        self._rounds[place.id] = _Round()

    def _record_loss(
        self, place: Place, at_ms: int, number: int, measured: Measured | None
    ) -> None:
        if measured is None:
            return
        self._latest[place.id] = measured
        self._record(
            LossRecord(
                at_s=self._at_s(at_ms),
                round=number,
                scope=str(place.scope),
                tier=place.tier,
                loss=measured.loss,
                base=measured.base,
                best=measured.best,
            )
        )
        if place.id in self._lowest:
            self._measured += 1
            if self._needs_point():
                self._record_served()

    def _needs_point(self) -> bool:
        """Whether a curve needs another point: by time where that ends the run, else by rounds."""
        run, elapsed = self._given.run, self._post.elapsed_s
        if run.until_s is not None:
            if elapsed - self._point_at_s < run.until_s / MOST_POINTS:
                return False
            self._point_at_s = elapsed
            return True
        return self._measured % max(1, run.rounds * len(self._lowest) // MOST_POINTS) == 0

    def _record_served(self, final: bool = False) -> None:
        """Record what devices are served: the mean loss over the scopes that they hang below."""
        served = self._mean()
        if served is None:
            return
        self._record(
            LossRecord(
                at_s=self._post.elapsed_s,
                round=round(sum(self._lowest.values()) / len(self._lowest)),
                scope="*",
                tier="device",
                loss=served.loss,
                base=served.base,
                best=served.best,
            )
        )
        if not final:
            self._record_traffic()

    def _mean(self) -> Measured | None:
        """Average the lowest scopes, weighted by their honest devices; None without any.

        A scope that never released counts with the base.
        """
        latest = [(self._latest_of(number), self._below[number]) for number in self._lowest]
        weights = [weight for _, weight in latest]
        if not sum(weights):
            return None
        bests = [one.best for one, _ in latest if one.best is not None]
        return Measured(
            loss=float(np.average([one.loss for one, _ in latest], weights=weights)),
            base=float(np.average([one.base for one, _ in latest], weights=weights)),
            best=float(np.average(bests, weights=weights)) if len(bests) == len(latest) else None,
        )

    def _latest_of(self, number: int) -> Measured:
        """Give a scope's latest measurement; measure the base for one that has none."""
        if number not in self._latest:
            zero = np.zeros(self._maker.problem.layout.size, np.float32)
            self._latest[number] = self._maker.problem.held_out(self._maker.places[number], zero)
        return self._latest[number]

    def _final(self) -> dict[str, float | None]:
        served = self._mean()
        final: dict[str, float | None] = {"gain": None}
        if served is not None:
            final = {"loss": served.loss, "base": served.base, "best": served.best}
            final["gain"] = served.base - served.loss
        tiers: dict[str, list[float]] = {}
        for number, measured in sorted(self._latest.items()):  # from the root downwards
            tiers.setdefault(self._maker.places[number].tier, []).append(measured.loss)
        return final | {f"loss_{tier}": float(np.mean(losses)) for tier, losses in tiers.items()}

    def _record_traffic(self) -> None:
        traffic = self._post.traffic
        self._record(
            TrafficRecord(
                at_s=self._post.elapsed_s,
                up_bytes=traffic.up_bytes,
                down_bytes=traffic.down_bytes,
                messages=traffic.messages,
            )
        )

    def _measure_turns(self) -> None:
        """Where nodes take turns, measure the parent on every domain after each turn."""
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

    def _record_matrix(self) -> None:
        if not self._matrix:
            return
        learned = tuple(name for name, _ in self._matrix)
        self._record(
            MatrixRecord(
                name="loss after each turn",
                sources=learned,
                losses=tuple(tuple(row[: len(learned)]) for _, row in self._matrix),
            )
        )

    def _at_s(self, at_ms: int) -> float:
        return (at_ms - self._maker.start_ms) / 1000


def live_in(
    given: Settings,
    maker: Maker,
    host: Hosts,
    record: Recorder,
    tick: Callable[[float], None],
    started: float,
) -> None:
    """Run a world in a host to its end, and record it.

    Args:
        started: by ``time.perf_counter``, when the cell began.
    """
    life = Life(given, maker, host, record, tick)
    life.run()
    usage = host.usage()
    record(life.ending(time.perf_counter() - started, usage))


def topology(maker: Maker) -> TopologyRecord:
    """Make the record of a tree; above ``MOST_LISTED`` nodes it has only their counts."""
    places = maker.places
    nodes = tuple(
        NodeEntry(
            id=place.id,
            parent=place.parent,
            scope=str(place.scope),
            tier=place.tier,
            name=place.name,
            attacker=place.attacker,
            rank=place.machine.rank,
            speed=place.machine.steps_per_s,
            domain=_domain(maker, place),
        )
        for place in (places if len(places) <= MOST_LISTED else ())
    )
    return TopologyRecord(nodes=nodes, counts=dict(Counter(place.tier for place in places)))


def _domain(maker: Maker, place: Place) -> str:
    if isinstance(maker.problem, Texts) and place.domain >= 0:
        return maker.problem.domain_of(place)
    return ""
