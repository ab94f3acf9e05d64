"""One run of the bench: a process for each member, all begin to fetch at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from nodes.errors import NodeError
from simulations.bench.swarm import by_grpc, by_swarm
from simulations.bench.swarm.circle import Circle, Endpoint, Figures, Member
from simulations.processes import Supervisor, Worker

PATIENCE_S = 3600.0
_PRELOAD = "simulations.bench.swarm.measure"

Say = Callable[[str], None]
Start = Callable[[Supervisor, int], Worker]


@dataclass
class Run:
    """What came of a run. ``times``: seconds until each receiver had the artefact; ``figures`` by
    the number of each member. ``resumed``: of a receiver that was killed, the bytes that were here
    when it was, and the bytes that it got before and after."""

    circle: Circle
    times: dict[int, float] = field(default_factory=dict)
    figures: dict[int, Figures] = field(default_factory=dict)
    places: dict[int, Endpoint] = field(default_factory=dict)
    resumed: tuple[int, int] | None = None

    @property
    def all_s(self) -> float:
        """Seconds until the last one had it."""
        return max(self.times.values())

    @property
    def origin_sent(self) -> int:
        """Bytes that the origin sent."""
        return self.figures[0].sent

    def accused(self) -> Mapping[int, int]:
        """How many receivers accuse each member, by its number."""
        numbers = {place: number for number, place in self.places.items()}
        counts: dict[int, int] = {}
        for figures in self.figures.values():
            for place in set(figures.accused):
                counts[numbers[place]] = counts.get(numbers[place], 0) + 1
        return counts


def by_libtorrent(torrent: bytes, *, spreads: bool = True, stalled_s: float = 120.0) -> Any:
    """Return how members of a swarm are started."""
    return partial(_start, by_swarm.run, (torrent, spreads, stalled_s))


def over_grpc() -> Any:
    """Return how members that use gRPC alone are started."""
    return partial(_start, by_grpc.run, ())


def _start(
    target: Callable[..., None],
    rest: tuple[object, ...],
    circle: Circle,
    supervisor: Supervisor,
    number: int,
) -> Worker:
    return supervisor.connect(target, circle, number, *rest)


def run(circle: Circle, way: Any, *, kill_at: float | None = None) -> Run:
    """Let all receivers fetch at once, and wait for every one.

    Args:
        way: ``by_libtorrent`` or ``over_grpc``.
        kill_at: the first receiver gets SIGKILL when it has this part of the artefact, and is
            started again at once.

    Raises ``NodeError`` ``bench-failed`` when a receiver failed.
    """
    result = Run(circle)
    with _processes(circle, partial(way, circle), result) as members:
        members.begin(range(len(circle.members)))
        members.wait_for_all(kill_at)
        for number, member in enumerate(circle.members):
            if member.part == "receiver" and not _is_whole(member, circle):
                raise NodeError("bench-failed", f"What receiver {number} has is not the artefact.")
    return result


class _Members:
    """The processes of one run."""

    def __init__(self, circle: Circle, start: Start, supervisor: Supervisor, result: Run) -> None:
        self._circle, self._start, self._supervisor = circle, start, supervisor
        self._result, self._begun = result, 0.0
        self._workers: dict[int, Worker] = {}
        for number in range(len(circle.members)):
            self.start(number)

    def start(self, number: int) -> None:
        worker = self._workers[number] = self._start(self._supervisor, number)
        what, value = _answer(worker)
        if what != "at":
            raise NodeError("bench-failed", f"Member {number} did not start: {value}")
        self._result.places[number] = value

    def begin(self, numbers: Sequence[int]) -> None:
        """Let members fetch, all but the origin; each is told where everybody is."""
        everybody = [(m, self._result.places[n]) for n, m in enumerate(self._circle.members)]
        self._begun = self._begun or time.monotonic()
        for number in numbers:
            if self._circle.members[number].part != "origin":
                self._workers[number].pipe.send(("fetch", everybody))

    def wait_for_all(self, kill_at: float | None) -> None:
        waiting = {n for n, m in enumerate(self._circle.members) if m.part == "receiver"}
        victim = min(waiting) if kill_at is not None else None
        until = time.monotonic() + PATIENCE_S
        while waiting:
            pipes = {self._workers[number].pipe: number for number in waiting}
            ready = wait(list(pipes), max(0.0, until - time.monotonic()))
            if not ready:
                raise NodeError("bench-failed", f"{len(waiting)} receivers did not finish.")
            for pipe in ready:
                assert isinstance(pipe, Connection)  # noqa: S101  nothing else was waited for
                number = pipes[pipe]
                what, value = _answer(self._workers[number])
                if what == "failed":
                    raise NodeError("bench-failed", f"Receiver {number} failed: {value}")
                if what == "done":
                    self._result.times[number] = time.monotonic() - self._begun
                    waiting.discard(number)
                elif number == victim and value >= (kill_at or 0) * self._circle.artefact.length:
                    victim = None
                    self._kill(number, value)
                    break
        before = self._result.resumed
        for number, worker in self._workers.items():
            worker.pipe.send(("figures", None))
            while (said := _answer(worker))[0] != "figures":
                pass
            self._result.figures[number] = said[1]
        if before is not None:
            first = min(self._result.times)
            self._result.resumed = before[0], self._result.figures[first].got

    def _kill(self, number: int, here: int) -> None:
        worker = self._workers[number]
        worker.process.kill()
        worker.process.join()
        try:  # the last that it said
            while True:
                what, value = worker.pipe.recv()
                here = value if what == "here" else here
        except (EOFError, OSError):
            pass
        worker.pipe.close()
        self._result.resumed = here, 0
        self.start(number)
        self.begin([number])


@contextmanager
def _processes(circle: Circle, start: Start, result: Run) -> Iterator[_Members]:
    with Supervisor(preload=_PRELOAD) as supervisor:
        yield _Members(circle, start, supervisor, result)


def _answer(worker: Worker) -> tuple[str, Any]:
    try:
        what, value = worker.pipe.recv()
    except (EOFError, OSError):
        worker.process.join()
        status = worker.process.exitcode
        raise NodeError("bench-failed", f"A member's process ended with status {status}.") from None
    return what, value


def _is_whole(member: Member, circle: Circle) -> bool:
    return member.place.stat().st_size == circle.artefact.length
