"""The statuses below a node: each verified down the path to its signer before it is kept.

A child hands in its own status and those from below it, as they were signed. Its own is checked by
its membership; one from below by a certificate that the certified key of its parent signed, whose
own certificate is here already, and so on up to the child. So whoever passes statuses on can hold
them back, which shows as age, but can neither change one nor make one up outside of its own
subtree: rows are kept apart by the child that handed them in.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from nodes.peers.statuses.rows import OWN, Row, StatusFile
from nodes.peers.statuses.verify import MAX_STATUS_BYTES, Claim, Origin, StatusRefused, Verifier
from nodes.state.database import DatabaseError
from nodes.state.node import Node
from protocol import Code, Digest, Envelope, NodeId, Refused, Status, digest_of
from protocol.peer_pb2 import Signed

log = structlog.get_logger()

TOO_MANY = "too-many-statuses"
MOST_LOGGED = 16
"""Refused statuses of one report that stand in the log; all are counted."""


@dataclass(frozen=True)
class BookLimits:
    """What a node keeps of what one child hands in, its own status included.

    ``statuses`` is a count, ``bytes`` are of statements and certificates together. A status for
    which nothing newer came goes after ``forget_after_ms``, and after ``yield_after_ms`` where its
    child has no room for another.
    """

    statuses: int = 20_000
    bytes: int = 64 * 1024 * 1024
    forget_after_ms: int = 30 * 24 * 3600 * 1000
    yield_after_ms: int = 24 * 3600 * 1000


BOOK_LIMITS = BookLimits()


@dataclass(frozen=True)
class RefusedStatus:
    """A status that was not taken.

    ``node`` is the one of which it was said to be, empty where that cannot be read; ``via`` is the
    child that handed it in. The sentence names both.
    """

    node: str
    code: str
    sentence: str
    via: NodeId


class StatusBook:
    """The statuses that one node keeps. Thread-safe.

    Args:
        file: where they are kept; nobody else writes to it.
    """

    def __init__(self, node: Node, file: StatusFile, limits: BookLimits = BOOK_LIMITS) -> None:
        self.file = file
        self._node, self._limits = node, limits
        self._lock = threading.RLock()
        self._rows: dict[tuple[NodeId, NodeId], Row] = {}
        self._counts: dict[NodeId, int] = {}
        self._bytes: dict[NodeId, int] = {}
        self._seq = 0
        self._heard: dict[NodeId, int] = {}
        self._verifier = Verifier(node, self._rows, file)
        self._load()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    # -- what children hand in

    def take(self, child: NodeId, statuses: Iterable[Signed]) -> list[RefusedStatus]:
        """Keep what a child hands in, as far as it verifies and is new; return what was refused.

        What is here already is passed over. Raises ``NodeError`` ``not-a-member``, ``revoked``,
        ``suspended`` or ``certificate-expired`` for the child itself: then nothing was looked at.
        Raises ``DatabaseError`` when nothing can be kept.
        """
        now = self._node.clock.now_ms()
        with self._lock:
            origin = self._verifier.origin(child, now)
            self._heard[child] = now
            refused: list[RefusedStatus] = []
            with self._transaction():
                for signed in statuses:
                    try:
                        self._take(origin, signed, now)
                    except StatusRefused as error:
                        is_logged = len(refused) < MOST_LOGGED
                        refused.append(self._refuse(origin, error, now, is_logged=is_logged))
            return refused

    def _take(self, origin: Origin, signed: Signed, now: int) -> None:
        if len(signed.statement) > MAX_STATUS_BYTES:
            size = len(signed.statement)
            raise _unread(origin, Code.TOO_LARGE, f"of {size} bytes, at most {MAX_STATUS_BYTES}")
        claim, digest = self._verifier.claim(origin, signed), digest_of(signed.statement)
        held = self._rows.get((origin.node, claim.node))
        if held is not None and held.digest == digest:
            return
        try:
            envelope = Envelope.decode(signed.statement, at_most=MAX_STATUS_BYTES)
        except Refused as error:
            raise claim.refused(error.code.value, "cannot be read") from None
        certificate = self._verifier.check_place(claim, signed, now)
        status = self._verifier.status(claim, envelope, now)
        if held is not None and status.issued_ms <= held.issued_ms:
            raise claim.refused(Code.REPLAYED.value, "is older than the one that is here")
        kept = Signed(statement=signed.statement, certificate=certificate)
        self._make_room(claim, kept.ByteSize(), now)
        tier = 1 if claim.is_own else 2 + len(claim.between)
        self._keep(self._row(origin.node, status, kept, digest, claim.certificate.parent, tier))

    def _make_room(self, claim: Claim, size: int, now: int) -> None:
        """Check that one more fits among what a child handed in; old ones make room for it."""
        child = claim.origin.node
        for attempt in range(2):
            held = self._rows.get((child, claim.node))
            count = self._counts.get(child, 0) + (held is None)
            total = self._bytes.get(child, 0) + size - (held.size if held else 0)
            if count <= self._limits.statuses and total <= self._limits.bytes:
                return
            if attempt == 0:
                self._drop_before(now - self._limits.yield_after_ms, child)
        raise claim.refused(
            TOO_MANY,
            f"has no room: {claim.origin.name} may have {self._limits.statuses} statuses of "
            f"{self._limits.bytes} bytes here",
        )

    def _refuse(
        self, origin: Origin, error: StatusRefused, now: int, *, is_logged: bool
    ) -> RefusedStatus:
        if is_logged:
            log.warning("status-refused", via=origin.name, code=error.code, why=error.sentence)
        self.file.keep_refusal(
            origin.node, origin.name, error.node, error.code, error.sentence, now
        )
        return RefusedStatus(error.node, error.code, error.sentence, origin.node)

    # -- what is here

    @property
    def seq(self) -> int:
        """The number of the last status that came."""
        return self._seq

    @property
    def heard(self) -> Mapping[NodeId, int]:
        """When each child was last heard, in milliseconds."""
        return self._heard

    def hear(self, child: NodeId) -> None:
        """Note that a child called."""
        self._heard[child] = self._node.clock.now_ms()

    @property
    def hidden(self) -> int:
        """How many nodes below this one are not handed upward, as far as is known."""
        with self._lock:
            children = [row for row in self._rows.values() if row.tier == 1]
            confined = sum(self._counts[row.via] for row in children if row.confined)
            return confined + sum(row.hidden for row in children)

    def newest(self, since: int) -> list[Row]:
        """List what came after number ``since`` and goes upward, each after its parent.

        What came by a child that is confined or was shut out stays here.
        """
        with self._lock:
            active = set(self._node.state.membership.active)
            children = [row for row in self._rows.values() if row.tier == 1]
            going = {row.via for row in children if not row.confined and row.via in active}
            rows = [row for row in self._rows.values() if row.seq > since and row.via in going]
        return sorted(rows, key=lambda row: (row.tier, row.seq))

    def signed(self, rows: Sequence[Row]) -> list[Signed]:
        """Read statuses as they were signed; where a newer one came meanwhile, that one."""
        found = (self.file.signed(row) for row in rows)
        return [signed for signed in found if signed is not None]

    def forget_old(self) -> int:
        """Drop the statuses for which nothing newer came for long; return how many."""
        with self._lock, self._transaction():
            return self._drop_before(self._node.clock.now_ms() - self._limits.forget_after_ms)

    # -- the node's own

    @property
    def own_issued_ms(self) -> int:
        """When the node's own status was issued that was kept last; 0 where none was."""
        own = self._rows.get((OWN, self._node.home.id))
        return own.issued_ms if own else 0

    def keep_own(self, status: Status, signed: Signed, notes: Mapping[str, str]) -> None:
        """Keep the node's own status, and notes for whoever reads the file without the node."""
        parent = self._node.home.certificate.parent
        with self._lock, self._transaction():
            for name, value in notes.items():
                self.file.write_note(name, value)
            self._keep(self._row(OWN, status, signed, digest_of(signed.statement), parent, 0))

    # -- inside

    def _row(
        self, via: NodeId, status: Status, kept: Signed, digest: Digest, parent: NodeId, tier: int
    ) -> tuple[Row, Signed]:
        if via != OWN:
            self._seq += 1  # the node's own is no news from below
        row = Row(
            via=via,
            node=status.node,
            parent=parent,
            tier=tier,
            name=status.name,
            issued_ms=status.issued_ms,
            arrived_ms=self._node.clock.now_ms(),
            seq=self._seq,
            confined=status.confined,
            hidden=status.hidden,
            size=kept.ByteSize(),
            digest=digest,
        )
        return row, kept

    def _keep(self, kept: tuple[Row, Signed]) -> None:
        row, signed = kept
        self.file.keep(row, signed)
        if (row.via, row.node) in self._rows:
            self._forget(self._rows[row.via, row.node])
        self._remember(row)

    def _drop_before(self, moment_ms: int, child: NodeId | None = None) -> int:
        old = [
            row
            for row in self._rows.values()
            if row.via != OWN and row.arrived_ms < moment_ms and child in (None, row.via)
        ]
        self.file.drop(old)
        for row in old:
            self._forget(row)
        return len(old)

    def _remember(self, row: Row) -> None:
        self._rows[row.via, row.node] = row
        self._counts[row.via] = self._counts.get(row.via, 0) + 1
        self._bytes[row.via] = self._bytes.get(row.via, 0) + row.size

    def _forget(self, row: Row) -> None:
        del self._rows[row.via, row.node]
        self._counts[row.via] -= 1
        self._bytes[row.via] -= row.size

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Write all or nothing; what is in memory follows the file."""
        try:
            with self.file.transaction():
                yield
        except BaseException as error:
            if isinstance(error, DatabaseError) and error.code == "broken-database":
                self.file.begin_anew(error)
            self._load()
            raise

    def _load(self) -> None:
        self._rows.clear()
        self._counts.clear()
        self._bytes.clear()
        for row in self.file.rows():
            self._remember(row)
            self._seq = max(self._seq, row.seq)
            if row.tier == 1:
                self._heard[row.via] = max(row.arrived_ms, self._heard.get(row.via, 0))


def _unread(origin: Origin, code: Code, what: str) -> StatusRefused:
    return StatusRefused(code.value, f"{origin.name} handed in a status {what}.")
