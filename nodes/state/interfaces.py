"""The interfaces of a node's durable storage.

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
from nodes.state.ledger_files import LedgerFiles, Mark, check_not_lost
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
        """Yield the events numbered above ``after``, in order."""
        ...

    def verify(self) -> int:
        """Check every event and the chain between them; return how many there are."""
        ...

    def taken(self, node: NodeId, round: int, task: str) -> bool:
        """Return whether ``node`` already answered this task of this round."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...


class Artefacts(Protocol):
    """Bytes named by their SHA-256; see ``nodes.state.artefacts.ArtefactStore``."""

    def put(self, data: bytes) -> Digest:
        """Store bytes durably and return their digest."""
        ...

    def get(self, digest: Digest) -> bytes:
        """Read the bytes with this digest. Raises ``ArtefactError``."""
        ...

    def has(self, digest: Digest) -> bool:
        """Return whether there is an artefact with this digest."""
        ...

    def part(self, digest: Digest, offset: int, length: int) -> bytes:
        """Read a part of an artefact, without a check. Raises ``ArtefactError``."""
        ...

    def size(self, digest: Digest) -> int:
        """Return an artefact's length in bytes. Raises ``ArtefactError``."""
        ...

    def intact(self, digest: Digest) -> bool:
        """Return whether the artefact is there and matches its digest."""
        ...

    def heal(self, digest: Digest, data: bytes) -> None:
        """Store the bytes of an artefact that is missing or damaged. Raises ``ArtefactError``."""
        ...

    def digests(self) -> Iterator[Digest]:
        """Yield every artefact in the store."""
        ...

    def delete(self, digest: Digest) -> None:
        """Remove an artefact; an absent one is no error."""
        ...

    def collect(self, keep: Set[Digest], min_age_s: float = 3600) -> tuple[int, int]:
        """Remove all artefacts but ``keep`` and newer ones; return how many, and their bytes."""
        ...


class Beside(Protocol):
    """The mark and the checkpoint of a ledger; see ``nodes.state.ledger_files.LedgerFiles``."""

    def mark(self) -> Mark | None:
        """Read the mark."""
        ...

    def write_mark(self, mark: Mark) -> None:
        """Replace the mark."""
        ...

    def checkpoint(self) -> bytes | None:
        """Read the last checkpoint."""
        ...

    def write_checkpoint(self, data: bytes) -> None:
        """Replace the checkpoint."""
        ...


@dataclass(frozen=True)
class Storage:
    """The storage of one node.

    Attributes:
        beside: where checkpoints are kept; None: every start folds the whole ledger.
        checkpoint_every: events between two checkpoints.
    """

    ledger: Events
    artefacts: Artefacts
    beside: Beside | None = None
    checkpoint_every: int = 2000


def on_disk(home: Home, clock: Clock) -> Storage:
    """Open the storage in the node's state folder.

    Raises ``DatabaseError``, ``ArtefactError``, and ``NodeError`` ``lost-ledger`` when there was
    another ledger than is there now.
    """
    check_not_lost(home.folder, home.ledger_file)
    ledger = Ledger.open(home.ledger_file, clock.now_ms)
    return Storage(ledger, ArtefactStore(home.folder / "artefacts"), LedgerFiles(home.folder))
