"""One transfer: the missing parts of an artefact, from several sources at once.

A scheduler gives each idle source a stretch of parts; a thread for each stretch receives them. Who
has nothing left to do takes parts that another has not begun, and in the end a part that is slow to
come is asked of a second source. A source that fails, refuses or stalls loses its parts to others.
What comes is bounded by what was asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.peers.artefacts.partial import PART, Parts
from nodes.peers.artefacts.pool import Pace, Pool
from nodes.peers.artefacts.source import Fault, OnFault, OnProgress, Source
from nodes.peers.wire.errors import PeerError
from protocol import NodeId

log = structlog.get_logger()

STRETCH = 4
"""Parts that one call asks for, at most."""

Find = Callable[[], Sequence[Source]]
OnBytes = Callable[[NodeId, int], None]


@dataclass(eq=False)
class _Task:
    """A stretch of parts that one source was asked for, in order, the first being received."""

    source: Source
    parts: list[int]
    began: float
    heard: float
    twice: bool = False
    abandoned: bool = False
    ended: bool = field(default=False)


class Transfer:
    """Completes the parts of one artefact.

    Args:
        find: asks anew who has it; called beside the transfer, now and then.
        on_bytes: told of what each source gave.
        on_fault: told of a source that sent more than it was asked for.
    """

    def __init__(
        self,
        parts: Parts,
        pool: Pool,
        *,
        clock: Clock,
        pace: Pace,
        threads: int,
        find: Find | None,
        on_bytes: OnBytes,
        on_fault: OnFault,
        on_progress: OnProgress,
    ) -> None:
        self._parts, self._pool, self._clock, self._pace = parts, pool, clock, pace
        self._threads, self._find = threads, find
        self._on_bytes, self._on_fault, self._on_progress = on_bytes, on_fault, on_progress
        self._changed = threading.Condition()
        self._tasks: list[_Task] = []
        self._missing = dict.fromkeys(parts.missing)
        self._faults: list[Fault] = []
        self._error: Exception | None = None
        self._fatal: Exception | None = None
        self._over = self._finding = self._found_nobody = False
        self._found_at = self._heard = clock.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Return when every part is here.

        Raises ``NodeError``: ``stopped``; ``no-room`` and ``disk-error``; ``no-source`` when nobody
        is left to ask; ``stalled`` when nothing came for too long.
        """
        told = -1
        try:
            while True:
                with self._changed:
                    faults, self._faults = self._faults, []
                    is_done = not self._missing
                    if not is_done:
                        self._schedule()
                        self._check(stop)
                        self._changed.wait(self._pace.look)
                for fault in faults:
                    self._on_fault(fault)
                if (here := self._parts.here) != told:
                    told = here
                    self._on_progress(here, self._parts.length)
                if is_done and not faults:
                    return
        finally:
            with self._changed:
                self._over = True
                for task in self._tasks:
                    task.abandoned = True
            for fault in self._faults:
                self._on_fault(fault)

    # -- the scheduler, under the lock

    def _schedule(self) -> None:
        now = self._clock.monotonic()
        for task in self._tasks:
            if now - task.heard > self._pace.stall:
                self._abandon(task, "stalled")
        self._tasks = [task for task in self._tasks if not (task.ended or task.abandoned)]
        while len(self._tasks) < self._threads and (new := self._next(now)):
            self._tasks.append(new)
            self._pool.take(new.source)
            threading.Thread(target=self._work, args=[new], daemon=True).start()
        self._relieve(now)
        self._look_for_more(now)

    def _next(self, now: float) -> _Task | None:
        """Find something to do for a source that is free; None if there is nothing."""
        free = self._pool.free()
        if not free:
            return None
        taken = {part for task in self._tasks for part in task.parts}
        open_parts = [part for part in self._missing if part not in taken]
        if open_parts:
            share = -(-len(open_parts) // self._threads)
            return _Task(free[0], _stretch(open_parts, min(STRETCH, share)), now, now)
        waiting = max(self._tasks, key=lambda task: len(task.parts), default=None)
        if waiting is None:
            return None
        if len(waiting.parts) > 1:  # take the half that it has not begun
            half = (len(waiting.parts) + 1) // 2
            parts, waiting.parts = waiting.parts[half:], waiting.parts[:half]
            return _Task(free[0], parts, now, now)
        return self._ask_twice(now)

    def _ask_twice(self, now: float) -> _Task | None:
        """Ask another source for the part that takes longest, if it takes too long."""
        alone = [task for task in self._tasks if task.parts and not task.twice]
        late = [task for task in alone if now - task.began > self._pace.double]
        for task in sorted(late, key=lambda task: task.began):
            others = self._pool.free(without={task.source.name})
            if others:
                task.twice = True
                return _Task(others[0], task.parts[:1], now, now, twice=True)
        return None

    def _relieve(self, now: float) -> None:
        """Where every thread is taken and a source has nothing to do, let the slowest one rest."""
        if len(self._tasks) < self._threads or not self._pool.free():
            return
        slowest = min(self._tasks, key=lambda task: task.began)
        if now - slowest.began > self._pace.slow:
            self._abandon(slowest, "slow")

    def _abandon(self, task: _Task, why: str) -> None:
        log.debug("source-left", source=task.source.name[:12], why=why, parts=task.parts)
        error = NodeError(why, f"Node {task.source.name[:12]}… is {why}.")
        self._leave(task, error)

    def _leave(self, task: _Task, error: Exception) -> None:
        """End a task, by its own thread or by another: its parts are free, its source rests."""
        if not (task.abandoned or task.ended):
            task.abandoned, self._error = True, error
            if isinstance(error, PeerError) and error.retry_ms is not None:
                self._heard = self._clock.monotonic()  # it is there, and says when to come back
            self._pool.failed(task.source, error)
            self._pool.done(task.source)
            for other in self._tasks:  # a part that was asked twice may be asked again
                other.twice &= not set(other.parts) & set(task.parts)

    def _lost(self, task: _Task, *, is_slow: bool) -> None:
        """End a task whose only part came from another source first."""
        if is_slow:
            self._abandon(task, "slow")
        else:
            task.abandoned = True
            self._pool.done(task.source)

    def _look_for_more(self, now: float) -> None:
        """Ask anew who has it, beside the transfer: others may have got it meanwhile."""
        lonely = self._pool.is_empty and not self._tasks
        is_due = not self._found_nobody if lonely else now - self._found_at > self._pace.locate
        if self._find is None or self._finding or not is_due:
            return
        self._finding = self._found_nobody = True
        threading.Thread(target=self._look, args=[self._find], daemon=True).start()

    def _look(self, find: Find) -> None:
        found: Sequence[Source] = ()
        try:
            found = find()
        except Exception as error:
            log.debug("not-located", why=str(error))
        with self._changed:
            self._finding, self._found_at = False, self._clock.monotonic()
            self._pool.add(found)
            self._found_nobody = self._pool.is_empty
            self._changed.notify_all()

    def _check(self, stop: threading.Event) -> None:
        """Raise if there is no use in going on."""
        if stop.is_set():
            raise NodeError("stopped", "The node was stopped while it fetched an artefact.")
        if self._fatal:
            raise self._fatal
        if self._pool.is_empty and not self._tasks and not self._finding:
            # Never as it came: what another node says decides nothing here.
            why = f" The last answer: {str(self._error)[:200]}" if self._error else ""
            raise NodeError("no-source", f"Nobody who answers gives the artefact.{why}")
        if self._clock.monotonic() - self._heard > self._pace.patience:
            raise NodeError("stalled", "Nobody sent anything of the artefact for too long.")

    # -- one task, in its thread

    def _work(self, task: _Task) -> None:
        try:
            self._receive(task)
        except Exception as error:
            log.debug("source-failed", source=task.source.name[:12], why=str(error))
            with self._changed:
                self._leave(task, error)
                self._changed.notify_all()
        else:
            with self._changed:
                if not task.abandoned:
                    task.ended = True
                    self._pool.done(task.source)
                self._changed.notify_all()

    def _receive(self, task: _Task) -> None:
        """Receive the parts of a task one after the other."""
        first, asked = task.parts[0], sum(map(self._parts.size, task.parts))
        stream = task.source.read(self._parts.digest, first * PART, asked)
        buffer, came = bytearray(), 0
        try:
            for chunk in stream:
                came += len(chunk)
                self._hear(task, len(chunk))
                if came > asked:
                    self._sent_too_much(task)
                    return
                buffer += chunk
                while task.parts and len(buffer) >= (size := self._parts.size(task.parts[0])):
                    self._put(task, bytes(buffer[:size]))
                    del buffer[:size]
                if task.abandoned or (not task.parts and came < asked):
                    return  # what is still to come was given to others
        finally:
            _close(stream)
        if task.parts:
            raise NodeError(
                "ended-early", f"Node {task.source.name[:12]}… sent less than it was asked for."
            )

    def _hear(self, task: _Task, count: int) -> None:
        if count:
            self._on_bytes(task.source.name, count)
            self._heard = task.heard = self._clock.monotonic()

    def _put(self, task: _Task, data: bytes) -> None:
        """Keep the part that has come whole."""
        with self._changed:
            if task.abandoned:
                return
            part = task.parts[0]
        try:
            self._parts.put(part, data, task.source.name)
        except NodeError as error:
            with self._changed:
                self._fatal = error
            raise
        with self._changed:
            self._missing.pop(part, None)
            if task.parts and task.parts[0] == part:
                del task.parts[0]
            if not task.abandoned:
                self._pool.worked(task.source)
            for other in self._tasks:
                if other is not task and other.parts == [part] and not other.abandoned:
                    self._lost(other, is_slow=other.began < task.began)
            task.began = task.heard = self._clock.monotonic()
            self._changed.notify_all()

    def _sent_too_much(self, task: _Task) -> None:
        with self._changed:
            if not self._over:
                self._faults.append(Fault.too_much(task.source.name, self._parts.digest))
            self._pool.drop(task.source)
            self._leave(task, NodeError("sent-too-much", "A source sent more than was asked."))
            self._changed.notify_all()


def _stretch(parts: Sequence[int], most: int) -> list[int]:
    """Return the first parts that follow each other."""
    stretch = [parts[0]]
    for part in parts[1:most]:
        if part != stretch[-1] + 1:
            break
        stretch.append(part)
    return stretch


def _close(stream: Iterator[bytes]) -> None:
    if close := getattr(stream, "close", None):
        close()
