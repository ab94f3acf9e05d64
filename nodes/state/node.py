"""One node's durable steps: every change of its state, each one ledger transaction.

Both roles work on this object, the parent's from one thread and the child's from another; it holds
the lock. A step writes its artefacts first, then one ledger transaction, then changes what is in
memory, so that a crash anywhere leaves either the old state or the new one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import structlog

from nodes.machine.clock import Clock
from nodes.machine.randomness import Randomness, SystemRandomness
from nodes.state import checkpoint, retention
from nodes.state.artefacts import ArtefactError
from nodes.state.event_codec import read, write
from nodes.state.events import LedgerEvent, MemberEnrolled, NodeCreated
from nodes.state.home import Home
from nodes.state.interfaces import Storage, on_disk
from nodes.state.ledger import Claim, Head, LedgerError
from nodes.state.ledger_files import Mark, lost
from nodes.state.position import Position
from nodes.state.records import ZERO, HeldRelease
from nodes.state.retention import RetentionPolicy
from nodes.state.vectors import Vector, sum_of
from protocol import (
    LIMITS,
    Certificate,
    ChainEntry,
    Digest,
    Envelope,
    NodeId,
    Scope,
    Snapshot,
    decode_adapter,
    encode_adapter,
    open_envelope,
    seal,
    transport_digest,
)

log = structlog.get_logger()


class Node:
    """A node's state, in memory and in its storage: by default the state folder."""

    def __init__(
        self,
        home: Home,
        clock: Clock,
        storage: Storage | None = None,
        randomness: Randomness | None = None,
    ) -> None:
        self.home, self.clock, self.randomness = home, clock, randomness or SystemRandomness()
        self.lock = threading.RLock()
        self.storage = storage = storage or on_disk(home, clock)
        self.ledger, self.artefacts = storage.ledger, storage.artefacts
        self.state, self._head = checkpoint.restore(self.ledger, storage.beside, home.path)
        self._checkpointed = self._read_upto
        self._marked: tuple[int, int] | None = None
        self._certificates: dict[Digest, Certificate] = {}
        self._signed: tuple[tuple[object, ...], Snapshot, Envelope] | None = None
        self._check_mark()
        self.catch_up()
        if self._read_upto == 0:
            self.record(NodeCreated(node=home.id, scope=str(home.scope)))

    @property
    def size(self) -> int:
        """d, the length of an adapter."""
        return self.home.layout.size

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    # -- the ledger

    def record(self, event: LedgerEvent, claim: Claim | None = None) -> None:
        """Make one durable step: append to the ledger, then change what is in memory."""
        self.record_all([event], claim)

    def record_all(self, events: Sequence[LedgerEvent], claim: Claim | None = None) -> None:
        """Record several events in one transaction; the claim belongs to the first."""
        with self.lock:
            self.ledger.append_all([write(event) for event in events], claim=claim)
            self.catch_up()

    def transact(self, build: Callable[[], Sequence[LedgerEvent]]) -> Sequence[LedgerEvent]:
        """Record what ``build`` makes of the current state; return what was recorded.

        Another process may append meanwhile (a command while the daemon runs); then the state is
        read again and ``build`` called again, so that no two releases have one version.
        """
        with self.lock:
            while True:
                self.catch_up()
                events = build()
                try:
                    self.ledger.append_all([write(e) for e in events], after=self._read_upto)
                except LedgerError as error:
                    if error.code != "moved-on":
                        raise
                    continue
                self.catch_up()
                return events

    def catch_up(self) -> None:
        """Apply what the ledger holds beyond what is in memory (another process may enrol)."""
        with self.lock:
            for entry in self.ledger.events(after=self._read_upto):
                self.state.apply(self._completed(read(entry)), entry.at_ms)
                self._head = Head(entry.seq, entry.digest)
            self._write_beside()

    @property
    def head(self) -> Head:
        """The last event of the ledger that the state has."""
        return self._head

    @property
    def _read_upto(self) -> int:
        return self._head.seq

    def _check_mark(self) -> None:
        """Check that the ledger is not an older one than this folder had.

        Raises ``NodeError`` ``lost-ledger``.
        """
        beside = self.storage.beside
        mark = beside.mark() if beside else None
        if mark and not checkpoint.has(self.ledger, Head(mark.seq, mark.digest)):
            self.close()
            raise lost(
                self.home.folder, f"lacks event {mark.seq}, which it had: it is another or older"
            )

    def _write_beside(self) -> None:
        """Renew the mark when versions moved, and both files every so many events."""
        beside, state = self.storage.beside, self.state
        if beside is None or self._read_upto == 0:
            return
        versions = (state.own.version, state.sequence)
        due = self._read_upto - self._checkpointed >= self.storage.checkpoint_every
        if due:
            beside.write_checkpoint(checkpoint.encode(state, self._head))
            self._checkpointed = self._read_upto
        if due or versions != self._marked:
            head, rounds, tests = self._head, state.rounds.next, state.gate.tests
            beside.write_mark(Mark(self.home.id, *head, *versions, rounds, tests))
            self._marked = versions

    def _completed(self, event: LedgerEvent) -> LedgerEvent:
        """Add to a member that an older Banyan enrolled the digest of its transport key."""
        if not isinstance(event, MemberEnrolled) or event.transport is not None:
            return event
        try:
            certificate = self._certificate(event.certificate)
        except ArtefactError:
            return event  # the rules of membership know what to do without
        return replace(event, transport=transport_digest(certificate.transport_key))

    # -- vectors

    def vector(self, digest: Digest) -> Vector:
        """Load an adapter by its digest, (d,) float32; the empty digest is zero."""
        if digest == ZERO:
            return np.zeros(self.size, np.float32)
        return decode_adapter(self.artefacts.get(digest), self.size, LIMITS)

    def keep(self, vector: Vector) -> Digest:
        """Store an adapter and return its digest."""
        return self.artefacts.put(encode_adapter(vector))

    def keep_all(self, vectors: Mapping[Digest, Vector]) -> dict[Digest, Digest]:
        """Store adapters under the names of their updates; return their digests."""
        return {update: self.keep(vector) for update, vector in vectors.items()}

    def position(self) -> Position:
        """Load the node's adapter, its baseline and the copies under way."""
        with self.lock:
            own, offers = self.state.own, self.state.offers
            copies = {update: self.vector(sent.copy) for update, sent in offers.sent.items()}
            return Position(self.vector(own.adapter), self.vector(offers.baseline), copies)

    # -- artefacts

    def damaged(self) -> list[Digest]:
        """List the artefacts that the node needs now and are missing or damaged; read them all."""
        with self.lock:
            digests = retention.needed(self.state)
        return sorted(digest for digest in digests if not self.artefacts.intact(digest))

    def tidy(self, policy: RetentionPolicy) -> int:
        """Delete the artefacts that nobody needs any more; return how many bytes they had.

        Young ones stay: another process may be about to name them.
        """
        with self.lock:
            self.catch_up()
            plan = retention.plan(
                self.state, self.ledger, self.artefacts, policy, self.clock.now_ms()
            )
        count, freed = self.artefacts.collect(plan.keep, retention.MIN_AGE_S)
        if count:
            log.info("artefacts-freed", count=count, bytes=freed)
        if plan.missing:
            log.warning("artefacts-missing", digests=plan.missing)
        return freed

    # -- what the node is

    def ancestors_total(self) -> Vector:
        """Sum the adapters above this node, (d,) float32."""
        with self.lock:
            adapters = [self.vector(link.adapter) for link in self.state.above.links]
        return sum_of(adapters) if adapters else np.zeros(self.size, np.float32)

    def effective(self) -> Vector:
        """Compute Θ of this node: the chain above plus its own adapter, (d,) float32."""
        with self.lock:
            return sum_of([self.ancestors_total(), self.vector(self.state.own.adapter)])

    def certificate_of(self, node: NodeId) -> Certificate | None:
        """Return the certificate of an enrolled child, whatever became of it; None of another.

        It does not wait for the lock, which others hold for seconds: every call of a peer asks.
        """
        member = self.state.membership.get(node)
        return self._certificate(member.certificate) if member else None

    def is_revoked(self, node: NodeId) -> bool:
        """Return whether this child is revoked: admission asks it with ``certificate_of``."""
        return self.state.membership.is_revoked(node)

    def is_suspended(self, node: NodeId) -> bool:
        """Return whether this child is suspended: admission asks that as well."""
        return self.state.membership.is_suspended(node)

    def _certificate(self, digest: Digest) -> Certificate:
        """Read a certificate that this node signed, verified once."""
        if digest not in self._certificates:
            sealed = Envelope.decode(self.artefacts.get(digest), LIMITS)
            self._certificates[digest] = open_envelope(sealed, Certificate, self.home.key.public)
        return self._certificates[digest]

    # -- down: snapshots

    def snapshot(self) -> tuple[Snapshot, Envelope] | None:
        """Return this node's signed chain for its children; None before its first release.

        Signed once for each state, and again when half of its life is over.
        """
        with self.lock:
            if self.state.own.latest is None:
                return None
            now, life = self.clock.now_ms(), LIMITS.snapshot_lifetime_s * 1000
            stands = (self.state.sequence, self.state.own.latest.release, self.state.above.snapshot)
            if self._signed and self._signed[0] == stands:
                _, snapshot, envelope = self._signed
                if now < snapshot.issued_ms + life // 2:
                    return snapshot, envelope
            snapshot = Snapshot(
                network=self.home.network.network,
                node=self.home.id,
                sequence=self.state.sequence,
                chain=tuple(
                    self._entry(h) for h in (*self.state.above.links, self.state.own.latest)
                ),
                revoked=self.state.membership.revoked,
                issued_ms=now,
                expires_ms=now + life,
            )
            self._signed = (stands, snapshot, seal(snapshot, self.home.key))
            return snapshot, self._signed[2]

    def _entry(self, link: HeldRelease) -> ChainEntry:
        scope = Scope.parse(link.scope)
        owner = next(c for c in self.home.path if c.scope == scope)
        return ChainEntry(
            scope=scope,
            node=owner.node,
            version=link.version,
            release=link.release,
            adapter=link.adapter,
            length=self.artefacts.size(link.adapter),
        )
