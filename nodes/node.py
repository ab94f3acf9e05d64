"""One node's durable steps: every change of what it holds, each one ledger transaction.

Both roles work on this object, the parent's from one thread and the child's from another; it holds
the lock. A step writes its artefacts first, then one ledger transaction, then changes what is in
memory, so that a crash anywhere leaves either the old state or the new one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from nodes.artefacts import ArtefactStore
from nodes.chain import Chain, sum_of
from nodes.clock import Clock
from nodes.home import Home
from nodes.ledger import Claim, Ledger
from nodes.state import ZERO, HeldRelease, NodeState
from protocol import (
    LIMITS,
    Certificate,
    ChainEntry,
    Digest,
    Envelope,
    NodeId,
    ProbeLoss,
    Release,
    ReleaseKind,
    Scope,
    Snapshot,
    Verdict,
    chain_digest,
    decode_adapter,
    encode_adapter,
    open_envelope,
    seal,
)

log = structlog.get_logger()

Vector = NDArray[np.float32]


class Node:
    """What a node holds, in memory and on disk."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self.home, self.clock = home, clock
        self.lock = threading.RLock()
        self.artefacts = ArtefactStore(home.folder / "artefacts")
        self.ledger = Ledger.open(home.ledger_file, clock.now_ms)
        self.state = NodeState()
        self._read_upto = 0
        self._signed: tuple[tuple[object, ...], Snapshot, Envelope] | None = None
        self.catch_up()
        if self._read_upto == 0:
            self.record("node-created", {"node": home.node, "scope": str(home.scope)})

    @property
    def size(self) -> int:
        """d, the length of an adapter."""
        return self.home.layout.size

    def close(self) -> None:
        """Close the ledger."""
        self.ledger.close()

    # -- the ledger

    def record(self, kind: str, body: Mapping[str, Any], claim: Claim | None = None) -> None:
        """One durable step: append to the ledger, then change what is in memory."""
        self.record_all([(kind, body)], claim)

    def record_all(
        self, entries: Sequence[tuple[str, Mapping[str, Any]]], claim: Claim | None = None
    ) -> None:
        """Several events in one transaction."""
        with self.lock:
            self.ledger.append_all(entries, claim=claim)
            self.catch_up()

    def catch_up(self) -> None:
        """Apply what the ledger holds beyond what is in memory (another process may enrol)."""
        with self.lock:
            for event in self.ledger.events(after=self._read_upto):
                self.state.apply(event.kind, event.body, event.at_ms)
                self._read_upto = event.seq

    # -- vectors

    def vector(self, digest: Digest) -> Vector:
        """An adapter by its digest, (d,) float32; the empty digest is zero."""
        if digest == ZERO:
            return np.zeros(self.size, np.float32)
        return decode_adapter(self.artefacts.get(digest), self.size, LIMITS)

    def keep(self, vector: Vector) -> Digest:
        """Store an adapter and return its digest."""
        return self.artefacts.put(encode_adapter(vector))

    # -- what the node is

    def ancestors_total(self) -> Vector:
        """The sum of the adapters above this node, (d,) float32."""
        with self.lock:
            held = [self.vector(link.adapter) for link in self.state.ancestors]
        return sum_of(held) if held else np.zeros(self.size, np.float32)

    def effective(self) -> Vector:
        """Θ of this node: the chain above plus its own adapter, (d,) float32."""
        with self.lock:
            return sum_of([self.ancestors_total(), self.vector(self.state.adapter)])

    def member(self, child: NodeId) -> Certificate | None:
        """The certificate of an enrolled child."""
        with self.lock:
            digest = self.state.members.get(child)
        if digest is None:
            return None
        sealed = Envelope.decode(self.artefacts.get(digest), LIMITS)
        return open_envelope(sealed, Certificate, self.home.key.public)

    def active_members(self) -> tuple[NodeId, ...]:
        """Enrolled children that are not revoked."""
        with self.lock:
            return tuple(sorted(set(self.state.members) - self.state.revoked))

    # -- down: chains, releases, snapshots

    def install(self, chain: Chain) -> None:
        """Install a verified chain. A node with an adapter re-bases neutrally (ρ = 0).

        The node's effective model stays what it was: its adapter, its baseline and every copy it
        sent move by minus the change of the sum above it (DESIGN section 4). Then a release that
        binds the new ancestors follows, in the same transaction.
        """
        with self.lock:
            first = self.state.snapshot is None
            total = chain.total
            body: dict[str, Any] = {
                "snapshot": chain.digest,
                "envelope": self.artefacts.put(chain.envelope),
                "sequence": chain.snapshot.sequence,
                "chain": [
                    asdict(
                        HeldRelease(
                            str(link.release.scope),
                            link.release.version,
                            link.digest,
                            self.artefacts.put(link.envelope),
                            self.artefacts.put(link.adapter),
                        )
                    )
                    for link in chain.links
                ],
            }
            if self.home.is_device:
                self.record("chain-installed", body)
                return
            ancestors = chain_digest([link.digest for link in chain.links])
            if first:
                release = self._released(self.vector(ZERO), ReleaseKind.INITIAL, ancestors)
            elif [e["release"] for e in body["chain"]] == [
                link.release for link in self.state.ancestors
            ]:
                self.record("chain-installed", body)  # nothing above changed but the signature
                return
            else:
                change = total - self.ancestors_total()
                adapter = self.vector(self.state.adapter) - change
                body["adapter"] = self.keep(adapter)
                body["baseline"] = self.keep(self.vector(self.state.baseline) - change)
                body["copies"] = {
                    update: self.keep(self.vector(sent.copy) - change)
                    for update, sent in self.state.sent.items()
                }
                body["displacement"] = self.keep(change)
                release = self._released(adapter, ReleaseKind.REBASE, ancestors)
            self.record_all([("chain-installed", body), ("released", release)])
            log.info(
                "chain-installed", sequence=chain.snapshot.sequence, version=self.state.version
            )

    def start_root(self) -> None:
        """At a root: publish the first, empty release if there is none."""
        with self.lock:
            if self.state.latest is None:
                self.record(
                    "released",
                    self._released(self.vector(ZERO), ReleaseKind.INITIAL, chain_digest([])),
                )

    def publish_round(
        self,
        round_number: int,
        displacement: Vector,
        step: float,
        verdicts: Sequence[Verdict],
        losses: Sequence[ProbeLoss],
    ) -> int:
        """Release the node's adapter moved by ``displacement``; returns the new version.

        The displacement is added to whatever the adapter is now: a neutral re-base may have moved
        it since the candidate was measured, without changing the effective model.
        """
        with self.lock:
            adapter = self.vector(self.state.adapter) + displacement
            body = self._released(
                adapter,
                ReleaseKind.ROUND,
                chain_digest([link.release for link in self.state.ancestors]),
                round_number=round_number,
                step=step,
                verdicts=verdicts,
                losses=losses,
            )
            self.record("released", body)
            return self.state.version

    def _released(
        self,
        adapter: Vector,
        kind: ReleaseKind,
        ancestors: Digest,
        *,
        round_number: int = 0,
        step: float = 0.0,
        verdicts: Sequence[Verdict] = (),
        losses: Sequence[ProbeLoss] = (),
    ) -> dict[str, Any]:
        """Sign a release and store it; the body of its ledger event."""
        data = encode_adapter(adapter)
        release = Release(
            network=self.home.network.network,
            node=self.home.node,
            scope=self.home.scope,
            version=self.state.version + 1,
            adapter=self.artefacts.put(data),
            length=len(data),
            dtype="float32",
            ancestors=ancestors,
            previous=self.state.latest.release if self.state.latest else ZERO,
            kind=kind,
            round=round_number,
            step=step,
            verdicts=tuple(verdicts),
            losses=tuple(losses),
            issued_ms=self.clock.now_ms(),
        )
        sealed = seal(release, self.home.key)
        held = HeldRelease(
            str(release.scope),
            release.version,
            sealed.digest,
            self.artefacts.put(sealed.encode()),
            release.adapter,
        )
        return {
            "held": asdict(held),
            "kind": kind.value,
            "round": round_number,
            "step": step,
            "accepted": [v.node for v in verdicts if v.verdict == "accepted"],
            "verdicts": [asdict(v) for v in verdicts],
            "losses": [asdict(loss) for loss in losses],
        }

    def snapshot(self) -> tuple[Snapshot, Envelope] | None:
        """This node's signed chain for its children; None before its first release.

        Signed once for each state, and again when half of its life is over.
        """
        with self.lock:
            if self.state.latest is None:
                return None
            now, life = self.clock.now_ms(), LIMITS.snapshot_lifetime_s * 1000
            stands = (self.state.sequence, self.state.latest.release, self.state.snapshot)
            if self._signed and self._signed[0] == stands:
                _, snapshot, envelope = self._signed
                if now < snapshot.issued_ms + life // 2:
                    return snapshot, envelope
            snapshot = Snapshot(
                network=self.home.network.network,
                node=self.home.node,
                sequence=self.state.sequence,
                chain=tuple(self._entry(h) for h in (*self.state.ancestors, self.state.latest)),
                revoked=tuple(sorted(self.state.revoked)),
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
