"""The append-only, hash-chained record of everything a node did and believed.

An appended event is on disk when ``append`` returns, whole or not at all, also through ``kill -9``.
Every event carries the digest of the one before it, so that ``verify`` finds a changed, missing or
reordered event; the database itself refuses to update or delete one. A claim says that a child's
task has been answered; it is written with its event, once. Several threads and processes may use
one ledger. The ledger does not know what its events mean.

The chain shows tampering only against a head that is known from elsewhere: whoever can write the
file can also cut off its end or compute a new chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from nodes.errors import NodeError
from nodes.state.database import Database, DatabaseError
from protocol import Digest, NodeId

START = Digest("")
"""Stands for the previous digest before the first event."""

REMEDY = "Put it back from a copy, or rebuild what can be proven: `banyan node recover`."

_VERSION = 1
_BATCH = 512
_SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    claim TEXT NOT NULL,
    previous TEXT NOT NULL,
    digest TEXT NOT NULL
);
CREATE TABLE claims (
    node TEXT NOT NULL,
    round INTEGER NOT NULL,
    task TEXT NOT NULL,
    verdict TEXT NOT NULL,
    code TEXT NOT NULL,
    seq INTEGER NOT NULL REFERENCES events (seq),
    PRIMARY KEY (node, round, task)
) WITHOUT ROWID;
CREATE TRIGGER events_follow BEFORE INSERT ON events
    WHEN NEW.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM events)
    BEGIN SELECT raise(ABORT, 'events are numbered without gaps'); END;
CREATE TRIGGER events_stay BEFORE UPDATE ON events
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER events_remain BEFORE DELETE ON events
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER claims_once BEFORE INSERT ON claims
    WHEN EXISTS (SELECT 1 FROM claims
                 WHERE node = NEW.node AND round = NEW.round AND task = NEW.task)
    BEGIN SELECT raise(ABORT, 'a task is claimed once'); END;
CREATE TRIGGER claims_stay BEFORE UPDATE ON claims
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER claims_remain BEFORE DELETE ON claims
    BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
"""
_COLUMNS = "seq, at_ms, kind, body, claim, previous, digest"


class LedgerError(NodeError):
    """The error of a ledger: ``broken-ledger``, ``claimed-twice``, ``moved-on``, ``no-ledger`` or
    ``bad-body``."""


@dataclass(frozen=True)
class Claim:
    """The claim that ``node`` has answered ``task`` of ``round``, with the decision about it."""

    node: NodeId
    round: int
    task: str
    verdict: str
    code: str = ""


@dataclass(frozen=True)
class LedgerEntry:
    """One event as it is stored; ``nodes.state.event_codec`` reads it.

    ``seq`` counts from 1 without gaps; ``at_ms`` is in milliseconds, UTC; ``text`` is the canonical
    JSON of the event's body.
    """

    seq: int
    at_ms: int
    kind: str
    text: str
    claim: Claim | None
    previous: Digest
    digest: Digest

    @property
    def body(self) -> Mapping[str, Any]:
        """The body as plain JSON values."""
        body: Mapping[str, Any] = json.loads(self.text)
        return body


class Head(NamedTuple):
    """The last event's number and digest; ``(0, "")`` for an empty ledger."""

    seq: int
    digest: Digest


def canonical(value: object) -> str:
    """Encode a value as its one JSON text: keys sorted, no spaces, no NaN.

    Raises ``LedgerError`` (``bad-body``) for what has no such text.
    """
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise LedgerError("bad-body", f"The ledger cannot hold this body: {error}.") from None
    return text


class Ledger:
    """The ledger of one node. Thread-safe."""

    def __init__(self, database: Database, now_ms: Callable[[], int]) -> None:
        self._database, self._now_ms = database, now_ms

    @classmethod
    def open(cls, path: Path, now_ms: Callable[[], int]) -> Self:
        """Open or create a ledger for reading and writing.

        Raises ``DatabaseError`` when the file cannot be read, is not a ledger, or was written by
        a newer version.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseError(
                "disk-error", f"{path} cannot be read or written: {error.strerror}."
            ) from error
        return cls(Database(path, _SCHEMA, _VERSION, remedy=REMEDY), now_ms)

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """Open an existing ledger for reading, also while its node writes.

        Raises ``LedgerError`` ``no-ledger`` when there is none, and what ``open`` raises.
        """
        if not path.is_file():
            raise LedgerError("no-ledger", f"There is no ledger at {path}.")
        return cls(Database(path, _SCHEMA, _VERSION, read_only=True, remedy=REMEDY), lambda: 0)

    def close(self) -> None:
        """Close the file. What was appended is on disk already."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- writing

    def append(self, kind: str, body: Mapping[str, Any], claim: Claim | None = None) -> LedgerEntry:
        """Append one event, with its claim if it settles a task; it is on disk when this returns.

        Raises ``LedgerError`` as ``append_all`` does.
        """
        return self.append_all([(kind, body)], claim)[0]

    def append_all(
        self,
        entries: Sequence[tuple[str, Mapping[str, Any]]],
        claim: Claim | None = None,
        after: int | None = None,
    ) -> tuple[LedgerEntry, ...]:
        """Append several events, all of them or none; the claim belongs to the first.

        Args:
            after: the number of the last event that the caller knows; nothing may have followed.

        Raises:
            LedgerError: ``claimed-twice`` when the task was already answered, ``moved-on`` when
                there are events after ``after``, ``bad-body`` for what JSON cannot hold (NaN among
                it). Nothing was written.
            DatabaseError: ``disk-full`` and the like. Nothing was written.
        """
        texts = [(kind, canonical(dict(body))) for kind, body in entries]
        events: list[LedgerEntry] = []
        with self._database.transaction():
            if claim and self.taken(claim.node, claim.round, claim.task):
                raise LedgerError(
                    "claimed-twice",
                    f"Task {claim.task!r} of round {claim.round} was already answered "
                    f"by {claim.node[:12]}….",
                )
            head = self.head
            if after is not None and head.seq != after:
                raise LedgerError(
                    "moved-on", f"The ledger has {head.seq} events, the writer knew of {after}."
                )
            for kind, text in texts:
                event = self._insert(head, kind, text, None if events else claim)
                events.append(event)
                head = Head(event.seq, event.digest)
        return tuple(events)

    # -- reading

    @property
    def head(self) -> Head:
        """Return the last event's number and digest."""
        rows = self._database.read("SELECT seq, digest FROM events ORDER BY seq DESC LIMIT 1")
        return Head(rows[0][0], Digest(rows[0][1])) if rows else Head(0, START)

    def events(self, kinds: Collection[str] | None = None, after: int = 0) -> Iterator[LedgerEntry]:
        """Yield the events numbered above ``after``, in order; only those of ``kinds`` if given.

        Each is checked against its digest, and against the event before it where both are read.
        Raises ``LedgerError`` (``broken-ledger``).
        """
        chosen = sorted(kinds) if kinds is not None else []
        among = f" AND kind IN ({', '.join('?' * len(chosen))})" if kinds is not None else ""
        query = f"SELECT {_COLUMNS} FROM events WHERE seq > ?{among} ORDER BY seq LIMIT {_BATCH}"  # noqa: S608
        previous: LedgerEntry | None = None
        while rows := self._database.read(query, after, *chosen):
            for row in rows:
                event = _event(row)
                if kinds is None and (previous or after == 0):
                    _check_follows(previous, event)
                previous = event
                yield event
            after = rows[-1][0]

    def verify(self) -> int:
        """Check every event, the chain between them and every claim; return how many events.

        Raises ``LedgerError`` (``broken-ledger``) naming the first event that does not hold.
        """
        count = 0
        claimed: dict[Claim, int] = {}
        for event in self.events():
            count = event.seq
            if event.claim:
                claimed[event.claim] = event.seq
        rows = self._database.read(
            "SELECT node, round, task, verdict, code, seq FROM claims WHERE seq <= ?", count
        )
        recorded = {Claim(*row[:5]): row[5] for row in rows}
        differing = claimed.items() ^ recorded.items()
        if differing:
            claim, seq = min(differing, key=lambda item: item[1])
            raise LedgerError(
                "broken-ledger",
                f"Event {seq} and the table of claims disagree about task {claim.task!r}.",
            )
        return count

    def taken(self, node: NodeId, round: int, task: str) -> bool:
        """Return whether ``node`` already answered this task of this round."""
        return bool(
            self._database.read(
                "SELECT 1 FROM claims WHERE node = ? AND round = ? AND task = ?", node, round, task
            )
        )

    # -- inside

    def _insert(self, head: Head, kind: str, text: str, claim: Claim | None) -> LedgerEntry:
        at_ms, seq = self._now_ms(), head.seq + 1
        claim_text = canonical(astuple(claim)) if claim else ""
        digest = _digest(head.digest, seq, at_ms, kind, text, claim_text)
        row = (seq, at_ms, kind, text, claim_text, head.digest, digest)
        self._database.write("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", *row)
        if claim:
            self._database.write(
                "INSERT INTO claims VALUES (?, ?, ?, ?, ?, ?)", *astuple(claim), seq
            )
        return LedgerEntry(seq, at_ms, kind, text, claim, head.digest, digest)


def _digest(previous: str, seq: int, at_ms: int, kind: str, body: str, claim: str) -> Digest:
    encoded = canonical([previous, seq, at_ms, kind, body, claim]).encode()
    return Digest(hashlib.sha256(encoded).hexdigest())


def _event(row: tuple[Any, ...]) -> LedgerEntry:
    """Read one row. Raises ``LedgerError`` when it is not what was written."""
    seq, at_ms, kind, body, claim, previous, digest = row
    texts = (kind, body, claim, previous)
    if (
        any(not isinstance(text, str) for text in texts)
        or _digest(previous, seq, at_ms, kind, body, claim) != digest
    ):
        raise LedgerError("broken-ledger", f"Event {seq} does not match its digest. {REMEDY}")
    claimed = Claim(*json.loads(claim)) if claim else None
    return LedgerEntry(seq, at_ms, kind, body, claimed, Digest(previous), Digest(digest))


def _check_follows(previous: LedgerEntry | None, event: LedgerEntry) -> None:
    last = Head(previous.seq, previous.digest) if previous else Head(0, START)
    if (event.seq, event.previous) != (last.seq + 1, last.digest):
        raise LedgerError(
            "broken-ledger", f"Event {event.seq} does not follow event {last.seq}. {REMEDY}"
        )
