"""Where the members of a world live: in this process, or in several, one for each core.

Every process makes the whole tree, which is cheap and the same everywhere, and keeps the members
that are its own. Nothing is shared but mail.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from nodes.errors import NodeError
from simulations.world.members import Maker, Member, Turn
from simulations.world.post import Event

MakeMaker = Callable[..., Maker]
"""Gives the maker of a world; called in every process with the same arguments."""


class LocalHost:
    """All members in this process."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members

    def turns(self, events: Sequence[Event]) -> list[Turn]:
        """What comes of events, in their order."""
        return [self.members[event.at].turn(event.at_ms, event.mail) for event in events]

    def close(self) -> None:
        """Nothing to end."""


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
        context = multiprocessing.get_context("spawn")
        self._shard_of = shard_of
        self._pipes: list[Connection] = []
        self._processes = []
        try:
            for number in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(
                    target=_serve, args=(theirs, make, arguments, shard_of, number), daemon=True
                )
                process.start()
                theirs.close()
                self._pipes.append(ours)
                self._processes.append(process)
            for pipe in self._pipes:
                self._answer(pipe)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def turns(self, events: Sequence[Event]) -> list[Turn]:
        """What comes of events, in their order; the processes work at the same time."""
        shares: list[list[Event]] = [[] for _ in self._pipes]
        for event in events:
            shares[self._shard_of[event.at]].append(event)
        asked = [(pipe, of) for pipe, of in zip(self._pipes, shares, strict=True) if of]
        for pipe, of in asked:
            pipe.send(of)
        answers = {id(of): iter(self._answer(pipe)) for pipe, of in asked}
        return [next(answers[id(shares[self._shard_of[event.at]])]) for event in events]

    def close(self) -> None:
        """End the processes."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(2)
            if process.is_alive():
                process.terminate()
                process.join()

    def _answer(self, pipe: Connection) -> Any:
        try:
            kind, found = pipe.recv()
        except EOFError:
            raise NodeError("worker-gone", "A process of the simulation ended by itself.") from None
        if kind == "error":
            raise NodeError("worker-failed", f"A process of the simulation failed:\n{found}")
        return found


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
        while True:
            turns = []
            for event in pipe.recv():
                member = members[event.at]
                assert member is not None  # noqa: S101  events go where their member lives
                turns.append(member.turn(event.at_ms, event.mail))
            pipe.send(("turns", turns))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return
    except BaseException:
        pipe.send(("error", traceback.format_exc()))
