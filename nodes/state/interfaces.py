"""Where a node keeps what must last, behind two small interfaces.

On disk it is a SQLite ledger and a folder of artefacts. A simulation keeps the same in another way,
so that a whole network lives in one process; the nodes do not see the difference.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Protocol

from nodes.machine.clock import Clock
from nodes.state.artefacts import ArtefactStore
from nodes.state.home import Home
from nodes.state.ledger import Claim, Ledger, LedgerEntry
from protocol import Digest, NodeId


class Events(Protocol):
    """An append-only, hash-chained record; each call: ``nodes.state.ledger.Ledger``."""

    def append_all(
        self,
        entries: Sequence[tuple[str, Mapping[str, Any]]],
        claim: Claim | None = None,
        after: int | None = None,
    ) -> tuple[LedgerEntry, ...]:
        """Append events, all of them or none, durable when this returns."""
        ...

    def events(self, kinds: Collection[str] | None = None, after: int = 0) -> Iterator[LedgerEntry]:
        """The events numbered above ``after``, in order."""
        ...

    def verify(self) -> int:
        """Check every event and the chain between them; returns how many there are."""
        ...

    def taken(self, node: NodeId, round: int, task: str) -> bool:
        """Whether this task of this round was already answered by ``node``."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


class Artefacts(Protocol):
    """Bytes named by their SHA-256; see ``nodes.state.artefacts.ArtefactStore``."""

    def put(self, data: bytes) -> Digest:
        """Store durably."""
        ...

    def get(self, digest: Digest) -> bytes:
        """What has this digest. Raises ``ArtefactError``."""
        ...

    def has(self, digest: Digest) -> bool:
        """Whether it is there."""
        ...

    def size(self, digest: Digest) -> int:
        """Its length in bytes. Raises ``ArtefactError``."""
        ...

    def delete(self, digest: Digest) -> None:
        """Remove it; what is not there is no error."""
        ...

    def collect(self, keep: Set[Digest], min_age_s: float = 3600) -> tuple[int, int]:
        """Remove all but ``keep`` and what is newer; returns how many, and their bytes."""
        ...


@dataclass(frozen=True)
class Storage:
    """What one node writes to."""

    ledger: Events
    artefacts: Artefacts


def on_disk(home: Home, clock: Clock) -> Storage:
    """In the node's state folder. Raises ``DatabaseError``."""
    return Storage(
        Ledger.open(home.ledger_file, clock.now_ms), ArtefactStore(home.folder / "artefacts")
    )
