"""That updates are signed by members, counted once, and that nothing on offer is lost or doubled.

One ``Counting`` reads the ledger of one node: as a parent, what it accepted, aggregated and
released; as a child, what it added to its adapter and what it heard that its parent counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nodes.state.events import (
    Aggregated,
    ChainInstalled,
    LedgerEvent,
    MemberEnrolled,
    MemberResumed,
    MemberRevoked,
    MemberSuspended,
    OfferCounted,
    OfferWithdrawn,
    Released,
    RoundClosed,
    RoundOpened,
    Trained,
    UpdateAccepted,
    UpdateSent,
)
from nodes.state.ledger import Claim
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, Seated
from protocol import (
    LIMITS,
    Digest,
    NodeId,
    ReleaseKind,
    VerdictKind,
    banyan_pb2,
    decode_adapter,
)
from simulations.chaos import proof
from simulations.chaos.invariants import Invariant, Known, require
from simulations.world.storage import FileArtefacts

_ROUNDING = 1e-4
"""Of a coordinate, and of each unit by which vectors are longer: they are float32."""


class Counting:
    """Watches what one node counts of others, and what others count of it."""

    def __init__(
        self, name: str, node: NodeId, size: int, artefacts: FileArtefacts, known: Known
    ) -> None:
        self._name, self._node, self._size = name, node, size
        self._artefacts, self._known = artefacts, known
        # As a parent.
        self._members: dict[NodeId, bytes] = {}
        self._out: set[NodeId] = set()
        self._claims: set[tuple[NodeId, int, str]] = set()
        self._accepted: dict[Digest, NodeId] = {}
        self._seats: dict[NodeId, Seated] = {}
        self._counted: dict[Digest, tuple[NodeId, int]] = {}
        self._counted_at: dict[NodeId, int] = {}
        self._settled: set[Digest] = set()
        self._undone: list[tuple[int, int]] = []
        self._adapter = ZERO
        # As a child.
        self._sent: set[Digest] = set()
        self._offers: list[tuple[Digest, Digest]] = []
        self._heard: dict[Digest, int] = {}
        self._on_offer: NDArray[np.float64] = np.zeros(size)
        self._own = ZERO

    def take(self, event: LedgerEvent, claim: Claim | None) -> None:
        """Look at one event of the ledger, and at the claim that came with it."""
        match event:
            case MemberEnrolled():
                self._member_enrolled(event)
            case MemberRevoked() | MemberSuspended():
                self._out.add(event.child)
                self._seats.pop(event.child, None)
            case MemberResumed():
                self._out.discard(event.child)
            case RoundOpened() | RoundClosed():
                self._seats = {}
            case UpdateAccepted():
                self._update_accepted(event, claim)
            case Aggregated():
                self._aggregated(event)
            case Released():
                self._released(event)
            case Trained():
                self._trained(event)
            case UpdateSent() if event.copy != ZERO:
                self._sent.add(event.update)
            case OfferCounted():
                self._offer_counted(event)
            case OfferWithdrawn():
                self._offer_withdrawn(event)
            case ChainInstalled():
                self._chain_installed(event)

    def check_offer(self, state: NodeState) -> None:
        """That a − b is what was added, less what was counted of it and stands."""
        adapter, baseline = self._vector(state.own.adapter), self._vector(state.offers.baseline)
        off = np.abs(adapter - baseline - self._on_offer).max()
        size = 1 + max(np.abs(adapter).max(), np.abs(baseline).max())
        self._once(off <= _ROUNDING * size, f"{off:.3g} of its offer is lost or doubled")

    # -- members

    def _member_enrolled(self, event: MemberEnrolled) -> None:
        envelope = self._artefacts.get(event.certificate)
        payload = proof.signed(envelope, self._known.keys[self._node], "certificate")
        self._verified(payload, "a certificate is not signed by the parent")
        certificate = banyan_pb2.Certificate.FromString(payload or b"")
        child = NodeId(certificate.node.hex())
        self._verified(child == event.child, "a certificate is for another node")
        self._members[child] = certificate.public_key
        self._out.discard(child)

    # -- rounds

    def _update_accepted(self, event: UpdateAccepted, claim: Claim | None) -> None:
        child, seat = event.child, event.seat
        update = seat.update
        who = f"update {update[:8]} of {child[:8]}"
        self._once(update not in self._accepted, f"{who} was accepted twice")
        self._once(claim and claim.node == child, f"{who} was accepted without its claim")
        assert claim is not None  # noqa: S101  required just above
        key = (claim.node, claim.round, claim.task)
        self._once(key not in self._claims, f"{who}: task {claim.task} was answered before")
        self._claims.add(key)
        self._check_signed(child, seat, claim.round, claim.task, who)
        self._accepted[update] = child
        self._seats[child] = seat

    def _check_signed(self, child: NodeId, seat: Seated, number: int, task: str, who: str) -> None:
        """Find among what arrived an envelope that this child signed and that says so."""
        self._verified(
            child in self._members and child not in self._out, f"{who}: no member sent it"
        )
        arrived = self._known.delivered.get((self._node, seat.update), ())
        payloads = [proof.signed(envelope, self._members[child], "update") for envelope in arrived]
        signed = [payload for payload in payloads if payload is not None]
        self._verified(signed, f"{who}: nothing that arrived bears its signature")
        said = banyan_pb2.Update.FromString(signed[0])
        bound = (said.node.hex(), said.parent.hex(), said.round, said.task, said.payload.hex())
        stated = (child, self._node, number, task, seat.payload)
        self._verified(bound == stated, f"{who}: it says {bound}, not {stated}")
        self._check_payload(seat, who)
        counted = self._counted_at.get(child, 0)
        self._once(
            said.version >= counted,
            f"{who} started from version {said.version}, and {counted} counted that part",
        )

    def _check_payload(self, seat: Seated, who: str) -> None:
        data = self._artefacts.get(seat.payload)
        self._verified(proof.digest(data) == seat.payload, f"{who}: its payload is another")

    def _aggregated(self, event: Aggregated) -> None:
        for child, seat in event.seats.items():
            update = seat.update
            who = f"update {update[:8]} of {child[:8]}"
            self._verified(child not in self._out, f"{who} is aggregated; it is shut out")
            self._verified(
                self._accepted.get(update) == child, f"{who} is aggregated and was never accepted"
            )
            self._check_payload(seat, who)
            if self._seated(child) == update:
                continue
            standing = self._counted.get(update)
            self._once(standing, f"{who} is aggregated and neither seated nor a stand-in")
            assert standing is not None  # noqa: S101  required just above
            self._once(
                not self._is_gone(update, standing[1]) and seat.scale <= 0.5,
                f"{who} stands in for its child, but was taken back or does not fade",
            )

    def _is_gone(self, update: Digest, version: int) -> bool:
        taken = self._known.taken_back.get(self._node, {})
        return update in taken or any(a < version <= u for a, u in self._undone)

    # -- releases

    def _released(self, event: Released) -> None:
        moved, version = self._vector(event.moved), event.held.version
        expected = self._vector(self._adapter) + moved
        off = np.abs(self._vector(event.held.adapter) - expected).max()
        size = 1 + np.abs(expected).max()
        self._once(off <= _ROUNDING * size, f"version {version} is off its displacement by {off}")
        self._adapter = self._own = event.held.adapter
        self._undone = list(event.undone)
        if event.kind is not ReleaseKind.REBASE:
            self._on_offer += moved
        if event.kind is ReleaseKind.ROUND:
            self._check_verdicts(event, version)
        if event.kind is ReleaseKind.WITHDRAWAL:
            taken = self._known.taken_back.setdefault(self._node, {})
            for verdict in event.verdicts:
                update = verdict.update
                self._once(update in self._accepted, f"{update[:8]} is withdrawn, never accepted")
                taken[update] = version

    def _check_verdicts(self, event: Released, version: int) -> None:
        """Each seat has one verdict; what is counted sat in this round and was never settled."""
        verdicts = [v for v in event.verdicts if v.update and v.verdict is not VerdictKind.STAND_IN]
        refused = {v.update for v in verdicts if v.verdict is VerdictKind.REFUSED}
        named = {v.update for v in verdicts}
        for verdict in verdicts:
            if verdict.verdict is not VerdictKind.ACCEPTED:
                continue
            update, child = verdict.update, verdict.node
            who = f"version {version} counts {update[:8]} of {child[:8]}"
            self._once(update not in refused, f"{who} and refuses it")
            self._once(update not in self._settled, f"{who}, which an earlier one had settled")
            self._once(self._seated(child) == update, f"{who}, which had no seat")
            self._counted[update] = (child, version)
            self._counted_at[child] = version
            self._known.accepted.setdefault((self._node, child), {})[update] = version
        self._settled |= named
        for seat in self._seats.values():
            self._once(seat.update in named, f"version {version} says nothing of {seat.update[:8]}")
        self._seats = {}

    def _seated(self, child: NodeId) -> Digest | None:
        """The update that sits in this child's seat."""
        seat = self._seats.get(child)
        return seat.update if seat else None

    # -- as a child

    def _trained(self, event: Trained) -> None:
        if event.adapter is not None:
            self._on_offer += self._vector(event.adapter) - self._vector(self._own)
            self._own = event.adapter

    def _offer_counted(self, event: OfferCounted) -> None:
        update, version = event.update, event.version
        by = self._known.accepted.get((self._known.above[self._node], self._node), {})
        self._once(by.get(update) == version, f"{update[:8]} counts here, not at the parent")
        self._once(update not in self._heard, f"{update[:8]} counts here twice")
        self._heard[update] = version
        self._offers.append((update, event.delta))
        self._on_offer -= self._vector(event.delta)

    def _offer_withdrawn(self, event: OfferWithdrawn) -> None:
        update = event.update
        taken = self._known.taken_back.get(self._known.above[self._node], {})
        self._once(update in taken, f"{update[:8]} is withdrawn here, not at the parent")
        (gone,) = (offer for offer in self._offers if offer[0] == update)
        self._offers.remove(gone)
        self._on_offer += self._vector(gone[1])

    def _chain_installed(self, event: ChainInstalled) -> None:
        undone = event.undone.offers if event.undone else ()
        for at in undone:
            self._on_offer += self._vector(self._offers[at][1])
        self._offers = [offer for at, offer in enumerate(self._offers) if at not in undone]
        if event.adapter is not None:
            self._own = event.adapter
        self._check_heard(event.chain[-1].version)

    def _check_heard(self, installed: int) -> None:
        """All that the parent counted up to the chain that is installed is known here."""
        parent = self._known.above[self._node]
        taken = self._known.taken_back.get(parent, {})
        for update, version in self._known.accepted.get((parent, self._node), {}).items():
            if version > installed or update not in self._sent or update in self._heard:
                continue
            gone = self._known.is_undone(parent, version, installed)
            gone = gone or taken.get(update, installed + 1) <= installed
            self._once(
                gone, f"version {version} of its parent counts {update[:8]}, which offers it again"
            )

    # -- helpers

    def _vector(self, digest: str) -> NDArray[np.float32]:
        if not digest:
            return np.zeros(self._size, np.float32)
        return decode_adapter(self._artefacts.get(Digest(digest)), self._size, LIMITS)

    def _once(self, holds: object, what: str) -> None:
        require(holds, Invariant.COUNTED_ONCE, f"{self._name}: {what}")

    def _verified(self, holds: object, what: str) -> None:
        require(holds, Invariant.VERIFIED, f"{self._name}: {what}")
