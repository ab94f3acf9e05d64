"""Where the members of a world live: in this process, or in several, one for each core.

Every process makes the whole tree, which is cheap and the same everywhere, and keeps the members
that are its own. Nothing is shared but mail.
"""

from __future__ import annotations

import gc
import resource
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol, Self

from nodes.errors import NodeError
from simulations.processes import Supervisor
from simulations.world.members import Maker, Member, Turn
from simulations.world.post import Delivery, Host

MakeMaker = Callable[..., Maker]
"""Gives the maker of a world; called in every process with the same arguments."""


class Usage(NamedTuple):
    """What processes took: CPU seconds, and the most bytes of memory that they held."""

    cpu_s: float
    peak_bytes: int


def own_usage() -> Usage:
    """Of this process. On Linux ``ru_maxrss`` is in KiB, on macOS in bytes."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(used.ru_utime + used.ru_stime, used.ru_maxrss * unit)


class Hosts(Host, Protocol):
    """A host that can be asked what it took, and ended."""

    def usage(self) -> Usage:
        """What its processes took so far, together."""
        ...

    def close(self) -> None:
        """End what it started."""
        ...


class LocalHost:
    """All members in this process."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members

    def turns(self, events: Sequence[Delivery]) -> list[Turn]:
        """What comes of events, in their order."""
        return [turn_of(self.members[event.at], event) for event in events]

    def usage(self) -> Usage:
        """What this process took so far."""
        return own_usage()

    def close(self) -> None:
        """Nothing to end."""


def turn_of(member: Member, event: Delivery) -> Turn:
    """What comes of one event at its member."""
    return member.turn(event.at_ms, event.mail, event.crash)


class ProcessHost:
    """Members in several processes, which end with this object.

    Args:
        make: gives the maker; importable from a fresh process.
        arguments: what it is called with.
        shard_of: for each place the process it lives in, from 0.
        workers: how many processes.
    """

    def __init__(
        self, make: MakeMaker, arguments: Sequence[Any], shard_of: Sequence[int], workers: int
    ) -> None:
        self._shard_of, self._supervisor = shard_of, Supervisor()
        try:
            self._pipes = [
                self._supervisor.connect(_serve, make, arguments, shard_of, number).pipe
                for number in range(workers)
            ]
            for pipe in self._pipes:
                self._answer(pipe)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def turns(self, events: Sequence[Delivery]) -> list[Turn]:
        """What comes of events, in their order; the processes work at the same time."""
        shares: list[list[Delivery]] = [[] for _ in self._pipes]
        for event in events:
            shares[self._shard_of[event.at]].append(event)
        asked = [(pipe, of) for pipe, of in zip(self._pipes, shares, strict=True) if of]
        for pipe, of in asked:
            pipe.send(of)
        answers = {id(of): iter(self._answer(pipe)) for pipe, of in asked}
        return [next(answers[id(shares[self._shard_of[event.at]])]) for event in events]

    def usage(self) -> Usage:
        """What this process and the others took so far, together."""
        for pipe in self._pipes:
            pipe.send("usage")
        found = [own_usage(), *(self._answer(pipe) for pipe in self._pipes)]
        return Usage(sum(u.cpu_s for u in found), sum(u.peak_bytes for u in found))

    def close(self) -> None:
        """End the processes."""
        self._supervisor.stop()

    def _answer(self, pipe: Connection) -> Any:
        try:
            kind, answer = pipe.recv()
        except EOFError:
            raise NodeError("worker-gone", "A process of the simulation ended by itself.") from None
        if kind == "error":
            raise NodeError("worker-failed", f"A process of the simulation failed:\n{answer}")
        return answer


def _serve(
    pipe: Connection,
    make: MakeMaker,
    arguments: Sequence[Any],
    shard_of: Sequence[int],
    number: int,
) -> None:
    """Answer events until the pipe is closed."""
    try:
        members: list[Member | None] = list(make(*arguments).all())
        for at, shard in enumerate(shard_of):
            if shard != number:
                members[at] = None
        pipe.send(("ready", None))
        gc.freeze()  # a collector that walks ten thousand nodes takes longer than they do
        while True:
            asked = pipe.recv()
            if asked == "usage":
                pipe.send(("usage", own_usage()))
                continue
            turns = []
            for event in asked:
                member = members[event.at]
                assert member is not None  # noqa: S101  events go where their member lives
                turns.append(turn_of(member, event))
            pipe.send(("turns", turns))
    except (EOFError, BrokenPipeError):
        return
    except Exception:
        pipe.send(("error", traceback.format_exc()))
