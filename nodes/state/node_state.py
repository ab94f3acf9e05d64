"""The state of a node, as a fold over its ledger: ``apply`` takes an event and nothing else.

After a crash a node reads its ledger from the start and is exactly where its last durable step
left it. ``apply`` is the whole table of what each event changes; what the parts do with it is in
``own_releases``, ``chain_above``, ``offers``, ``rounds`` and ``gate_history``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aggregation.gate import Budget
from nodes.state.chain_above import ChainAbove
from nodes.state.event_codec import read
from nodes.state.events import (
    Abstained,
    Aggregated,
    BestHeld,
    ChainInstalled,
    DoorRefused,
    GateJudged,
    LedgerEvent,
    MemberEnrolled,
    MemberRenewed,
    MemberResumed,
    MemberRevoked,
    MemberSuspended,
    NodeCreated,
    OfferCounted,
    OfferSettled,
    OfferWithdrawn,
    PeerFaulted,
    PositionMended,
    ProbesUsed,
    ReceiptKept,
    ReceiptsRead,
    Recovered,
    Released,
    RoundClosed,
    RoundOpened,
    TrafficCounted,
    Trained,
    UpdateAccepted,
    UpdateRefused,
    UpdateSent,
    Withdrawn,
)
from nodes.state.fates import Fates
from nodes.state.gate_history import GateHistory
from nodes.state.interfaces import Events
from nodes.state.offers import Offers
from nodes.state.own_releases import OwnReleases
from nodes.state.receipts_kept import ReceiptsKept
from nodes.state.records import ZERO
from nodes.state.rounds import Rounds
from protocol import Digest, Membership, NodeId, ReleaseKind


@dataclass
class NodeState:
    """Everything that must survive a crash.

    Attributes:
        own: the node's adapter a and its releases. ``above``: the chain that it follows.
        offers: the baseline b, copies under way. ``rounds``: with its children.
        gate: what the gate has used.
        sequence: of the node's snapshots: it counts releases and revocations.
        moves: changes of the effective model other than by rounds.
        moment: orders changes of what the node holds.
        membership: who belongs, and who was suspended or revoked.
    """

    own: OwnReleases = field(default_factory=OwnReleases)
    above: ChainAbove = field(default_factory=ChainAbove)
    offers: Offers = field(default_factory=Offers)
    rounds: Rounds = field(default_factory=Rounds)
    gate: GateHistory = field(default_factory=GateHistory)
    sequence: int = 0
    moves: int = 0
    moment: int = 0
    membership: Membership = field(default_factory=Membership)
    fates: Fates = field(default_factory=Fates)
    receipts: ReceiptsKept = field(default_factory=ReceiptsKept)

    @classmethod
    def from_ledger(cls, ledger: Events, upto: int | None = None) -> NodeState:
        """Fold a whole ledger, or its events up to a number, into its state."""
        state = cls()
        for entry in ledger.events():
            if upto is not None and entry.seq > upto:
                break
            state.apply(read(entry), entry.at_ms)
        return state

    @property
    def budget(self) -> Budget:
        """The gate's budget. A promotion is a release: a crash may come before it."""
        return Budget(self.gate.tests, len(self.own.by_rounds))

    @property
    def best(self) -> dict[str, Digest]:
        """The best state ever held that stands, for each source of probes.

        A release by hand is a person's decision on what is good: best states count anew from there.
        """
        return self.gate.best_since(self.own.decided_by_hand())

    def apply(self, event: LedgerEvent, at_ms: int) -> None:
        """Apply one event of the ledger, recorded at ``at_ms``."""
        match event:
            case MemberEnrolled():
                self._enrol(event)
            case MemberRenewed():
                self.membership.renew(event.child, event.certificate)
            case MemberRevoked():
                self._revoke(event.child)
            case MemberSuspended():
                self.membership.suspend(event.child)
                self.rounds.shut_out(event.child)
            case MemberResumed():
                self.membership.resume(event.child)
            case ChainInstalled():
                self._install(event, at_ms)
            case Released():
                self._release(event, at_ms)
            case Withdrawn():
                self._withdraw(event)
            case Trained():
                self._train(event)
            case UpdateSent():
                self._send(event, at_ms)
            case OfferCounted():
                self.offers.count(event, at_ms)
            case OfferSettled():
                self.offers.settle(event.update)
            case OfferWithdrawn():
                self.offers.withdraw(event, self.own.stands)
            case PositionMended():
                self._mend(event)
            case Recovered():
                self._recover(event, at_ms)
            case ReceiptKept():
                self.receipts.keep(event, at_ms)
            case ReceiptsRead():
                self.offers.seen_release = event.upto
            case RoundOpened():
                self.rounds.start(event)
            case UpdateAccepted():
                if not self._is_out(event.child):  # since its update was admitted
                    self.rounds.seat(event)
                    self.fates.seat(event)
            case UpdateRefused():
                self.rounds.refuse(event)
                self.fates.refuse(event)
            case RoundClosed():
                self.fates.close(event, self.rounds.seated())
                self.rounds.close(event)
            case GateJudged():
                self.gate.tests += 1
            case ProbesUsed():
                self.gate.use(event)
            case BestHeld():
                self.moment += 1
                self.gate.hold_best(event.best, self.moment)
            case NodeCreated() | Abstained() | Aggregated() | DoorRefused() | TrafficCounted():
                pass  # they only inform
            case PeerFaulted():
                pass  # standings are kept beside, and not for ever
            case _:
                raise TypeError(f"nobody says what {type(event).__name__} changes")

    # -- membership

    def _enrol(self, event: MemberEnrolled) -> None:
        self.membership.enrol(event.member)
        self.rounds.pardon(event.child)

    def _revoke(self, child: NodeId) -> None:
        self.membership.revoke(child)
        self.fates.leave_out(self.rounds.seated(child), "revoked")
        self.rounds.shut_out(child)
        self.sequence += 1

    def _is_out(self, child: NodeId) -> bool:
        return self.membership.is_revoked(child) or self.membership.is_suspended(child)

    def _recover(self, event: Recovered, at_ms: int) -> None:
        """Begin with what was proven; all that was learned counts as counted."""
        newest = event.published[-1].held if event.published else None
        version, adapter = (newest.version, newest.adapter) if newest else (0, ZERO)
        undone = list(event.undone)
        self.own = OwnReleases.of(version, adapter, event.published, undone, [])
        self.offers.baseline = adapter
        self.offers.start(at_ms)
        self.sequence, self.rounds.next = event.sequence, event.round
        self.gate.tests = event.tests
        self.moment = len(event.published)

    # -- the chain above and the node's own adapter

    def _install(self, event: ChainInstalled, at_ms: int) -> None:
        self.above.install(event)
        self.offers.seen_release = self.above.links[-1].release
        if event.brought is not None:
            self._follow(event)
        self.offers.start(at_ms)

    def _follow(self, event: ChainInstalled) -> None:
        """Apply a change of the chain above, with which a node's own adapter moved."""
        self.moment += 1
        taken_back = self.above.follow(event, self.moment)
        if event.undone and event.undone.offers:
            self.offers.undo(event.undone.offers, self.own.stands)
        if taken_back:
            self.gate.forget_since(min(install.moment for install in taken_back))
        effects = (event.effect or ZERO, *(install.effect for install in taken_back))
        self.moves += any(effect != ZERO for effect in effects)
        if event.adapter is not None and event.baseline is not None:
            self.own.adapter = event.adapter
            self.offers.displace(event.baseline, event.copies or {})
            self.offers.fresh = []

    def _release(self, event: Released, at_ms: int) -> None:
        self.moment += 1
        self.own.release(event, self.moment)
        self.fates.release(event)
        self.sequence += 1
        self.offers.start(at_ms)
        match event.kind:
            case ReleaseKind.ROUND:
                self.offers.contribute(event.held.version, event.accepted)
                self.rounds.release(event)
            case ReleaseKind.BY_HAND:
                self.moves += 1
            case ReleaseKind.ROLLBACK | ReleaseKind.WITHDRAWAL:
                self._take_back(event)

    def _take_back(self, event: Released) -> None:
        """Apply a rollback or a withdrawal: what it takes back contributes to nothing any more."""
        self.moves += 1
        self.offers.keep_standing(self.own.stands)
        if event.kind is ReleaseKind.ROLLBACK:
            first_gone = self.own.undone[-1][0] + 1
            self.gate.forget_since(self.own.published[first_gone].moment)
        updates = [verdict.update for verdict in event.verdicts]
        self.rounds.forget_taken_back(updates, self.own.is_undone)

    def _withdraw(self, event: Withdrawn) -> None:
        self.own.withdrawn.append(event)
        self.offers.keep_standing(self.own.stands)
        self.gate.forget_since(self.own.published[min(event.moved)].moment)
        self.rounds.forget_stand_in(event.child)

    def _mend(self, event: PositionMended) -> None:
        self.moment += 1
        self.moves += event.adapter != self.own.adapter
        self.own.adapter = event.adapter
        self.offers.restart(event.baseline)

    def _send(self, event: UpdateSent, at_ms: int) -> None:
        """A plain device has no copy that the parent's verdict could make its baseline."""
        if event.copy != ZERO:
            self.offers.send(event)
        self.receipts.send(event, at_ms)

    def _train(self, event: Trained) -> None:
        self.offers.trained = event
        if event.adapter is not None:  # of a personal device
            self.own.adapter = event.adapter
            self.own.version += 1
