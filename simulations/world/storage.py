"""A node's ledger and artefacts for simulations: the same rules, appended to one file a process.

What is idle costs disk, not memory: only where each event and artefact lies is kept. Nothing is
synced and nothing survives the process by itself; ``nodes.state.ledger`` and
``nodes.state.artefacts`` are for nodes that must last.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import astuple
from pathlib import Path
from typing import Any

from nodes.state.artefacts import ArtefactError
from nodes.state.interfaces import Storage
from nodes.state.ledger import START, Claim, LedgerEntry, LedgerError, canonical
from nodes.state.ledger_files import Mark
from protocol import Digest, NodeId, digest_of

Place = tuple[int, int]
"""Where something lies in a file, and its length in bytes."""


class AppendFile:
    """A file that is only appended to. What was put is read back by its place.

    Args:
        path: an unnamed temporary file by default.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._file, self._end = self._open(), 0
        if path is not None:
            self._end = path.stat().st_size

    def put(self, data: bytes) -> Place:
        """Append."""
        os.pwrite(self._file, data, self._end)
        place = (self._end, len(data))
        self._end += len(data)
        return place

    def get(self, place: Place) -> bytes:
        """What lies at a place."""
        start, length = place
        return os.pread(self._file, length, start)

    def close(self) -> None:
        """Close the file; an unnamed one is gone."""
        os.close(self._file)

    def _open(self) -> int:
        if self._path is None:
            descriptor, name = tempfile.mkstemp(prefix="banyan-")
            Path(name).unlink()
            return descriptor
        return os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)

    def __getstate__(self) -> dict[str, Any]:
        if self._path is None:
            raise TypeError("an unnamed file cannot leave its process")
        return {"path": self._path}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]


class FileArtefacts:
    """Artefacts by their digest. Many nodes may share one: equal bytes are kept once."""

    def __init__(self, file: AppendFile) -> None:
        self._append_file = file
        self._places: dict[Digest, Place] = {}

    def put(self, data: bytes) -> Digest:
        """Store, and return the digest."""
        digest = digest_of(data)
        if digest not in self._places:
            self._places[digest] = self._append_file.put(data)
        return digest

    def get(self, digest: Digest) -> bytes:
        """What has this digest. Raises ``ArtefactError`` ``missing-artefact``."""
        return self._append_file.get(self._place(digest))

    def part(self, digest: Digest, offset: int, length: int) -> bytes:
        """Bytes of what has this digest. Raises ``ArtefactError`` ``missing-artefact``."""
        return self.get(digest)[offset : offset + length]

    def has(self, digest: Digest) -> bool:
        """Whether it is there."""
        return digest in self._places

    def size(self, digest: Digest) -> int:
        """Its length in bytes. Raises ``ArtefactError`` ``missing-artefact``."""
        return self._place(digest)[1]

    def intact(self, digest: Digest) -> bool:
        """Whether it is there: nothing damages it."""
        return self.has(digest)

    def heal(self, digest: Digest, data: bytes) -> None:
        """Store what was missing."""
        self.put(data)

    def digests(self) -> Iterator[Digest]:
        """All that there are."""
        yield from tuple(self._places)

    def delete(self, digest: Digest) -> None:
        """Forget where it lies."""
        self._places.pop(digest, None)

    def collect(self, keep: Set[Digest], min_age_s: float = 3600) -> tuple[int, int]:
        """Forget all but ``keep``, of any age: between two turns nothing waits to be named."""
        gone = [digest for digest in self._places if digest not in keep]
        freed = sum(self._places.pop(digest)[1] for digest in gone)
        return len(gone), freed

    def _place(self, digest: Digest) -> Place:
        if digest not in self._places:
            raise ArtefactError("missing-artefact", f"There is no artefact {digest[:12]}….")
        return self._places[digest]


class FileLedger:
    """A ledger as ``nodes.state.ledger`` has it: numbered, hash-chained, each task claimed once."""

    def __init__(self, file: AppendFile, now_ms: Callable[[], int]) -> None:
        self._append_file, self._now_ms = file, now_ms
        self._places: list[Place] = []
        self._kinds: list[str] = []
        self._claims: set[tuple[NodeId, int, str]] = set()
        self._head = START

    def append_all(
        self,
        entries: Sequence[tuple[str, Mapping[str, Any]]],
        claim: Claim | None = None,
        after: int | None = None,
    ) -> tuple[LedgerEntry, ...]:
        """Append events, all of them or none; the claim belongs to the first.

        Raises ``LedgerError``: ``claimed-twice``, ``moved-on``, ``bad-body``.
        """
        if claim and self.taken(claim.node, claim.round, claim.task):
            raise LedgerError("claimed-twice", f"Task {claim.task!r} was already answered.")
        if after is not None and after != len(self._places):
            raise LedgerError("moved-on", f"The ledger has {len(self._places)} events.")
        texts = [(kind, canonical(dict(body))) for kind, body in entries]
        events: list[LedgerEntry] = []
        for kind, text in texts:
            claimed = claim if not events else None
            events.append(self._append(kind, text, claimed))
        return tuple(events)

    def _append(self, kind: str, text: str, claim: Claim | None) -> LedgerEntry:
        seq, at_ms, previous = len(self._places) + 1, self._now_ms(), self._head
        claimed = astuple(claim) if claim else None
        line = canonical([previous, seq, at_ms, kind, text, claimed]).encode()
        self._head = Digest(hashlib.sha256(line).hexdigest())
        self._places.append(self._append_file.put(line))
        self._kinds.append(kind)
        if claim:
            self._claims.add((claim.node, claim.round, claim.task))
        return LedgerEntry(seq, at_ms, kind, text, claim, previous, self._head)

    def events(self, kinds: Collection[str] | None = None, after: int = 0) -> Iterator[LedgerEntry]:
        """The events numbered above ``after``, in order; only those of ``kinds`` if given."""
        for at in range(after, len(self._places)):
            if kinds is None or self._kinds[at] in kinds:
                yield self._read(at)

    def _read(self, at: int) -> LedgerEntry:
        line = self._append_file.get(self._places[at])
        previous, seq, at_ms, kind, text, claimed = json.loads(line)
        digest = Digest(hashlib.sha256(line).hexdigest())
        claim = Claim(*claimed) if claimed else None
        return LedgerEntry(seq, at_ms, kind, text, claim, Digest(previous), digest)

    def verify(self) -> int:
        """Check the chain; returns how many events there are. Raises ``LedgerError``."""
        previous = START
        for seq, event in enumerate(self.events(), start=1):
            if (event.seq, event.previous) != (seq, previous):
                raise LedgerError("broken-ledger", f"Event {seq} does not follow the one before.")
            previous = event.digest
        if previous != self._head:
            raise LedgerError("broken-ledger", "The last event is not the one that was appended.")
        return len(self._places)

    def taken(self, node: NodeId, round: int, task: str) -> bool:
        """Whether this task of this round was already answered by ``node``."""
        return (node, round, task) in self._claims

    def close(self) -> None:
        """Nothing to let go of: the file belongs to the world."""


class MemoryBeside:
    """The mark and the checkpoint of a ledger, in memory."""

    def __init__(self) -> None:
        self._mark: Mark | None = None
        self._checkpoint: bytes | None = None

    def mark(self) -> Mark | None:
        """The last mark."""
        return self._mark

    def write_mark(self, mark: Mark) -> None:
        """Replace the mark."""
        self._mark = mark

    def checkpoint(self) -> bytes | None:
        """The last checkpoint."""
        return self._checkpoint

    def write_checkpoint(self, data: bytes) -> None:
        """Replace the checkpoint."""
        self._checkpoint = data


def file_storage(file: AppendFile, artefacts: FileArtefacts, now_ms: Callable[[], int]) -> Storage:
    """The storage of one node in a file that many share."""
    return Storage(FileLedger(file, now_ms), artefacts)
