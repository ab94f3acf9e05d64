"""Storage that ends its process at a durable step, before or after it.

A step is one append to the ledger or one change of an artefact. An append is all or nothing. What
is stored outlives the crash; what the process had in memory does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

from nodes.state.interfaces import Storage
from nodes.state.ledger import Claim, LedgerEntry
from protocol import Digest, NodeId
from simulations.world.storage import Spool, SpoolArtefacts, SpoolLedger

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

    ledger: SpoolLedger
    artefacts: SpoolArtefacts

    @classmethod
    def new(cls, spool: Spool, now_ms: Callable[[], int]) -> Disk:
        """An empty one. Unlike in other simulations, nodes share no artefacts: each must have
        what it needs."""
        return cls(SpoolLedger(spool, now_ms), SpoolArtefacts(spool))

    def opened(self, fuse: Fuse) -> Storage:
        """As one process sees it."""
        return Storage(BurningLedger(self.ledger, fuse), BurningArtefacts(self.artefacts, fuse))


@dataclass(frozen=True)
class BurningLedger:
    """A ledger whose appends may crash."""

    inner: SpoolLedger
    fuse: Fuse

    def append_all(
        self,
        entries: Sequence[tuple[str, Mapping[str, Any]]],
        claim: Claim | None = None,
        after: int | None = None,
    ) -> tuple[LedgerEntry, ...]:
        """Append, all or nothing, or crash before or after."""
        if not entries:
            return self.inner.append_all(entries, claim, after)
        what = "append " + "+".join(dict.fromkeys(kind for kind, _ in entries))
        return self.fuse.step(what, lambda: self.inner.append_all(entries, claim, after))

    def events(self, kinds: Collection[str] | None = None, after: int = 0) -> Iterator[LedgerEntry]:
        """As the ledger has them."""
        return self.inner.events(kinds, after)

    def verify(self) -> int:
        """As the ledger does."""
        return self.inner.verify()

    def taken(self, node: NodeId, round: int, task: str) -> bool:
        """As the ledger has it."""
        return self.inner.taken(node, round, task)

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(frozen=True)
class BurningArtefacts:
    """Artefacts whose changes may crash."""

    inner: SpoolArtefacts
    fuse: Fuse

    def put(self, data: bytes) -> Digest:
        """Store, or crash before or after."""
        return self.fuse.step("put", lambda: self.inner.put(data))

    def get(self, digest: Digest) -> bytes:
        """As it is stored."""
        return self.inner.get(digest)

    def has(self, digest: Digest) -> bool:
        """Whether it is stored."""
        return self.inner.has(digest)

    def size(self, digest: Digest) -> int:
        """As it is stored."""
        return self.inner.size(digest)

    def delete(self, digest: Digest) -> None:
        """Delete, or crash before or after."""
        self.fuse.step("delete", lambda: self.inner.delete(digest))

    def collect(self, keep: Set[Digest], min_age_s: float = 3600) -> tuple[int, int]:
        """Delete what is not to be kept, or crash before or after."""
        return self.fuse.step("collect", lambda: self.inner.collect(keep, min_age_s))
