"""Ledgers that nobody lived: sequences of events as a node could have recorded them, from a seed.

Every kind that changes a state occurs; what an event refers to exists in its state.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from aggregation.gate import Budget
from nodes.state.events import (
    BestHeld,
    ChainInstalled,
    GateJudged,
    LedgerEvent,
    MemberEnrolled,
    MemberResumed,
    MemberRevoked,
    MemberSuspended,
    NodeCreated,
    OfferCounted,
    OfferSettled,
    OfferWithdrawn,
    ProbesUsed,
    ReceiptKept,
    ReceiptsRead,
    Released,
    RoundClosed,
    RoundOpened,
    Trained,
    UpdateAccepted,
    UpdateRefused,
    UpdateSent,
    Withdrawn,
)
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, HeldRelease, Seated, TrainingMeasured, Undone
from protocol import (
    Digest,
    Fate,
    KeyId,
    NodeId,
    ReleaseKind,
    Role,
    Verdict,
    VerdictKind,
    digest_of,
)

Events = Sequence[LedgerEvent]
CHILDREN = tuple(NodeId(digest_of(b"child %d" % i)) for i in range(5))


def history(seed: int) -> Iterator[tuple[NodeState, LedgerEvent]]:
    """Yield events for ever, each with the state before it; the caller applies them."""
    teller = _Teller(random.Random(seed))
    state = teller.state
    yield state, NodeCreated(node=NodeId(teller.name()), scope="/en")
    for child in CHILDREN[:3]:
        yield state, teller.enrol(child)
    while True:
        for event in teller.rng.choice(teller.moves)():
            yield state, event


class _Teller:
    """Makes up what happens next from what is."""

    def __init__(self, rng: random.Random) -> None:
        self.rng, self.state, self._names = rng, NodeState(), 0
        self.moves = (
            *(self._chain,) * 3,
            *(self._round,) * 4,
            *(self._offer,) * 4,
            self._receipt,
            self._by_hand,
            self._rolled_back,
            self._withdrawn,
            self._undone_above,
            self._taken_back_above,
            self._members,
            self._gate,
        )

    def name(self) -> Digest:
        self._names += 1
        return digest_of(f"{self._names}".encode())

    def enrol(self, child: NodeId) -> MemberEnrolled:
        return MemberEnrolled(
            child=child,
            certificate=self.name(),
            name=child[:6],
            role=Role.DEVICE,
            scope="/en",
            key=KeyId(child),
            transport=Digest(child),
            epoch=1,
        )

    def _held(self, version: int) -> HeldRelease:
        return HeldRelease("/en", version, self.name(), self.name(), self.name())

    def _released(self, kind: ReleaseKind, **more: object) -> Released:
        own = self.state.own
        fields: dict[str, object] = {
            "held": self._held(own.version + 1),
            "kind": kind,
            "moved": self.name(),
            "round": 0,
            "step": 1.0,
            "accepted": (),
            "verdicts": (),
            "losses": (),
            "rehearsal": ZERO,
            "undone": tuple(own.undone),
        }
        return Released(**fields | more)  # type: ignore[arg-type]

    def _chain(self, undone: Undone | None = None) -> Events:
        sequence = self.state.above.sequence + 1
        copies = {update: self.name() for update in self.state.offers.sent}
        installed = ChainInstalled(
            snapshot=self.name(),
            envelope=self.name(),
            sequence=sequence,
            chain=(HeldRelease("/", sequence, self.name(), self.name(), self.name()),),
            brought={"/": (sequence - 1, sequence)},
            undone=undone or Undone(installs=(), offers=()),
            share=0.25,
            effect=ZERO if undone else self.name(),
            adapter=self.name(),
            baseline=self.name(),
            copies=copies,
        )
        return [installed, self._released(ReleaseKind.REBASE)]

    def _round(self) -> Events:
        number = self.state.rounds.next
        opened = RoundOpened(round=number, deadline_ms=number, members=3, quorum=3, tolerates=0)
        seats = {
            child: Seated(self.name(), self.name(), "int8", 4, 0.5, 3, self.rng.random() < 0.5)
            for child in self.rng.sample(CHILDREN, 2)
        }
        updates = [
            UpdateAccepted(
                child=child, round=number, late=False, staleness=0, length=4, seat=seats[child]
            )
            for child in seats
        ]
        end = self.rng.random()
        if end < 0.3:
            return [opened, *updates[:1]]  # and a crash: it stays open
        if end < 0.4:
            return [opened, *updates, RoundClosed(round=number, outcome="failed", code="no-probes")]
        if end < 0.5:
            return [opened, *updates, RoundClosed(round=number, outcome="refused-by-gate")]
        kinds = (VerdictKind.ACCEPTED, VerdictKind.OUTVOTED, VerdictKind.STAND_IN)
        verdicts = tuple(
            Verdict(node=child, update=seat.update, verdict=kind, code=_code(kind), share=0.5)
            for (child, seat), kind in zip(seats.items(), self.rng.sample(kinds, 2), strict=True)
        )
        accepted = tuple(v.node for v in verdicts if v.verdict is VerdictKind.ACCEPTED)
        release = self._released(
            ReleaseKind.ROUND, round=number, accepted=accepted, verdicts=verdicts
        )
        return [opened, *updates, release]

    def _offer(self) -> Events:
        offers, round_ = self.state.offers, self.rng.randint(1, 40)
        roll = self.rng.random()
        sent = list(offers.sent)
        if roll < 0.4 or not sent:
            trained = Trained(
                round=round_,
                delta=self.name(),
                started=3,
                samples=8,
                measured=TrainingMeasured(
                    first_loss=2.5, last_loss=0.1, tokens=7, seconds=0.3, replayed={"a": 1},
                    fresh=1, old={}, share=0.25, length=1.0,
                ),
            )  # fmt: skip
            sending = UpdateSent(
                round=round_, update=self.name(), length=4, copy=self.name(),
                version=self.state.own.version,
            )  # fmt: skip
            return [trained, sending]
        update = self.rng.choice(sent)
        if roll < 0.5:
            return [OfferSettled(update=update)]
        counted = OfferCounted(update=update, version=round_, delta=self.name())
        return [counted, ReceiptsRead(upto=self.name())]

    def _receipt(self) -> Events:
        """A plain device's update, or a receipt; at times one that contradicts an earlier one."""
        if self.rng.random() < 0.3:
            return [UpdateSent(round=3, update=self.name(), length=4, deadline_ms=9)]
        receipts = self.state.receipts
        known = [*receipts.awaited, *receipts.kept]
        fate = self.rng.choice([f for f in Fate if f is not Fate.WAITING])
        kept = ReceiptKept(
            update=self.rng.choice(known) if known else self.name(), receipt=self.name(),
            release=self.name(), fate=fate, code="", round=3, version=7,
            contradicts=self.rng.random() < 0.2,
        )  # fmt: skip
        return [kept]

    def _by_hand(self) -> Events:
        return [self._released(ReleaseKind.BY_HAND)]

    def _rolled_back(self) -> Events:
        own = self.state.own
        last = range(max(1, own.version - 9), own.version)
        standing = [v for v in last if not own.is_undone(v)]
        if not standing or self.rng.random() < len(own.undone) / 20:
            return []
        to = self.rng.choice(standing)
        spans = tuple(span for span in own.undone if span[1] < to)
        undone = (*spans, (to, own.version))
        return [self._released(ReleaseKind.ROLLBACK, undone=undone)]

    def _withdrawn(self) -> Events:
        rounds = self.state.own.by_rounds[-3:]
        if not rounds or self.rng.random() < len(self.state.own.withdrawn) / 20:
            return []
        child = self.rng.choice(CHILDREN)
        release = self._released(ReleaseKind.WITHDRAWAL)
        moved = {version: self.name() for version in rounds}
        return [release, Withdrawn(child=child, version=release.held.version, moved=moved)]

    def _undone_above(self) -> Events:
        above, offers = self.state.above, self.state.offers
        if self.rng.random() < 0.7:
            return []
        return self._chain(
            Undone(
                installs=tuple(above.place_of(i) for i in above.installs[-2:]),
                offers=tuple(offers.place_of(o) for o in offers.counted[-1:]),
            )
        )

    def _taken_back_above(self) -> Events:
        counted = self.state.offers.counted
        if not counted or self.rng.random() < 0.9:
            return []
        update = self.rng.choice(counted[-3:]).update
        return [OfferWithdrawn(update=update, baseline=self.name(), copies={})]

    def _members(self) -> Events:
        child, members = self.rng.choice(CHILDREN), self.state.membership
        if child in members.active:
            end = self.rng.choice([MemberRevoked, MemberSuspended])
            return [end(child=child)]
        if members.is_suspended(child):
            return [self.rng.choice([MemberRevoked, MemberResumed])(child=child)]
        return [self.enrol(child)]

    def _gate(self) -> Events:
        judged = GateJudged(
            round=1, step=1.0, rehearsal=ZERO, accepted=True, reasons=(), before=2.0, after=1.0,
            log10_e=0.5, level=0.01, sources=(), reused=(), budget=Budget(1, 0),
        )  # fmt: skip
        refused = UpdateRefused(
            child=self.rng.choice(CHILDREN), code="not-finite", sentence="No.", round=1,
            update=self.name(), claimed=True,
        )  # fmt: skip
        used = ProbesUsed(probes={"all": (f"p{self.rng.randint(0, 9)}",)})
        return [judged, used, refused, BestHeld(best={"all": self.name()})]


def _code(kind: VerdictKind) -> str:
    return "outvoted" if kind is VerdictKind.OUTVOTED else ""
