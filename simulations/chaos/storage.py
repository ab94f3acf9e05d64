"""Storage that ends its process at a durable step, before or after it.

A step is one append to the ledger or one change of an artefact. An append is all or nothing. What
is stored outlives the crash; what the process had in memory does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar, cast

from nodes.state.interfaces import Artefacts, Events, Storage
from nodes.state.ledger import LedgerEntry
from protocol import Digest
from simulations.world.storage import AppendFile, FileArtefacts, FileLedger, MemoryBeside

CHECKPOINT_EVERY = 7
"""Events between two checkpoints: few, so that every start is one from a checkpoint."""

T = TypeVar("T")


class Crash(BaseException):
    """The process ended here. Nothing that a node does for its errors may catch it."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where


@dataclass
class Fuse:
    """Ends one process at the durable step it was lit for.

    Attributes:
        left: how many durable steps there are until then; None: it is not lit.
        after: whether that step is still done.
    """

    left: int | None = None
    after: bool = False
    crashes: Counter[str] = field(default_factory=Counter)

    def light(self, steps: int, after: bool) -> None:
        """Crash at the durable step with this number, counted from 1."""
        self.left, self.after = steps, after

    def step(self, what: str, do: Callable[[], T]) -> T:
        """Do one durable step, or crash beside it."""
        if self.left is None:
            return do()
        self.left -= 1
        if self.left > 0:
            return do()
        self.left = None
        if self.after:
            do()
        where = f"{'after' if self.after else 'before'} {what}"
        self.crashes[where] += 1
        raise Crash(where)


@dataclass(frozen=True)
class Disk:
    """What one node has stored. Its daemon and every command of a person are processes on it."""

    ledger: FileLedger
    artefacts: FileArtefacts
    beside: MemoryBeside = field(default_factory=MemoryBeside)

    @classmethod
    def new(cls, file: AppendFile, now_ms: Callable[[], int]) -> Disk:
        """An empty one. Unlike in other simulations, nodes share no artefacts: each must have
        what it needs."""
        return cls(FileLedger(file, now_ms), FileArtefacts(file))

    def opened(self, fuse: Fuse) -> Storage:
        """As one process sees it."""
        ledger = cast(Events, CrashingLedger(self.ledger, fuse))
        artefacts = cast(Artefacts, CrashingArtefacts(self.artefacts, fuse))
        return Storage(ledger, artefacts, self.beside, CHECKPOINT_EVERY)


@dataclass(frozen=True)
class _Stored:
    """What is not overridden is done as it is stored."""

    inner: Any
    fuse: Fuse

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class CrashingLedger(_Stored):
    """A ledger whose appends, all or nothing, may crash before or after."""

    def append_all(
        self, entries: Sequence[tuple[str, Mapping[str, Any]]], *more: Any, **claims: Any
    ) -> tuple[LedgerEntry, ...]:
        """Append as the ledger does; nothing to append is no durable step."""
        append: Callable[[], tuple[LedgerEntry, ...]]
        append = partial(self.inner.append_all, entries, *more, **claims)
        what = "append " + "+".join(dict.fromkeys(kind for kind, _ in entries))
        return self.fuse.step(what, append) if entries else append()


class CrashingArtefacts(_Stored):
    """Artefacts whose changes may crash before or after."""

    def put(self, data: bytes) -> Digest:
        """Store."""
        return self.fuse.step("put", lambda: cast(Digest, self.inner.put(data)))

    def delete(self, digest: Digest) -> None:
        """Delete."""
        self.fuse.step("delete", lambda: self.inner.delete(digest))

    def collect(self, keep: Set[Digest], min_age_s: float = 3600) -> tuple[int, int]:
        """Delete what is not to be kept."""
        collect: Callable[[], tuple[int, int]] = partial(self.inner.collect, keep, min_age_s)
        return self.fuse.step("collect", collect)
