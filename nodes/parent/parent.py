"""The parent's role: open rounds, admit answers, settle what was collected.

It drives the round state machine and carries out its actions: signed tasks go out, answers
pass admission, what was accepted is on disk before it counts, and a closed round is settled. How
messages travel is the driver's business (``nodes.flower.apps``).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

import structlog

from nodes.config.sections import NodeConfig
from nodes.learning.interfaces import Engine
from nodes.learning.training import NOTHING_NEW
from nodes.parent.mending import Mending
from nodes.parent.refusals import Refusals, costs_the_child, named_update
from nodes.parent.round_events import (
    AbstentionReceived,
    AnswerRefused,
    Ask,
    CloseRound,
    MembersChanged,
    OpenRound,
    Outcome,
    RoundAction,
    RoundDone,
    RoundEvent,
    Seat,
    Supersede,
    Tick,
    UpdateReceived,
    Woken,
)
from nodes.parent.round_machine import RoundMachine
from nodes.parent.settlement import Settlement
from nodes.parent.tasks import Request, TaskDesk
from nodes.state.event_codec import write
from nodes.state.events import Abstained, RoundOpened, UpdateAccepted
from nodes.state.ledger import Claim
from nodes.state.node import Node
from nodes.state.records import Seated
from protocol import (
    LIMITS,
    Abstention,
    Admission,
    Admitted,
    Code,
    Digest,
    EncodedDelta,
    NodeId,
    PayloadFormat,
    Refused,
)

log = structlog.get_logger()


class Parent:
    """The rounds of one scope.

    Args:
        settlement: what becomes of a closed round; by default what
            ``nodes.parent.settlement`` does.
    """

    def __init__(
        self, node: Node, config: NodeConfig, engine: Engine, settlement: Settlement | None = None
    ) -> None:
        self._node, self._config = node, config
        self._settlement = settlement or Settlement(node, config, engine)
        self._desk = TaskDesk(node, PayloadFormat(config.rounds.payload_format))
        self._admission = Admission(
            network=node.home.network,
            parent=node.home.id,
            scope=node.home.scope,
            layout_size=node.home.layout.size_at,
            members=node,
            tasks=self._desk,
            claims=self,
            limits=LIMITS,
        )
        self._admitted: dict[Digest, Admitted] = {}
        """Updates that wait for a seat."""
        self._deltas: dict[Digest, EncodedDelta] = {}
        """The payloads of seated updates, as they were sent, until their round is settled."""
        self._refusals = Refusals(node)
        self._abstaining: dict[NodeId, str] = {}
        """Why each child abstained last, as the ledger says it."""
        self._ready: set[NodeId] = set()
        self._ready_lock = threading.RLock()
        state = node.state
        self._version = state.own.version
        self._mending = Mending(node)
        self._departures = dict(state.membership.departures)
        """How often each child was suspended or revoked, as far as the machine has heard."""
        self._machine = RoundMachine(
            policy=config.rounds.policy(),
            members=state.membership.active,
            next_round=state.rounds.next,
            counted=dict(state.rounds.counted),
        )
        if state.rounds.open:
            self._machine.resume(
                state.rounds.open.round,
                state.rounds.open.deadline_ms,
                {child: seat.update for child, seat in state.rounds.open.seated.items()},
                node.clock.now_ms(),
            )
            log.info("round-resumed", round=state.rounds.open.round)

    @property
    def finished(self) -> bool:
        """Whether this parent has made as many releases by rounds as it was asked to."""
        limit = self._config.rounds.max_releases
        return limit is not None and len(self._node.state.own.by_rounds) >= limit

    @property
    def next_ms(self) -> int | None:
        """The time at which ``step`` has work to do if nothing arrives before; None: not before
        that."""
        if self._node.state.own.latest is None or (self.finished and self._machine.open is None):
            return None
        return self._machine.next_ms

    # -- what the driver calls

    def wake(self, child: NodeId) -> None:
        """Note that a child says it has something: ask it at the next step. Thread-safe."""
        with self._ready_lock:
            self._ready.add(child)

    def step(self) -> list[Request]:
        """Let time pass; return the tasks to send now."""
        requests = self._catch_up()
        if self._node.state.own.latest is None:
            return []  # no chain yet: there is nothing to ask children for
        if self._mending.lacking:
            return self._mending.requests(self._machine.members, self._node.clock.now_ms())
        if self.finished and self._machine.open is None:
            return requests
        requests += self._woken()
        return requests + self._handle(Tick(self._node.clock.now_ms()))

    def _woken(self) -> list[Request]:
        """End a pause if a child has something, or if there is a release to hand down."""
        with self._ready_lock:
            ready, self._ready = self._ready, set()
        version, self._version = self._version, self._node.state.own.version
        now, requests = self._node.clock.now_ms(), []
        for child in sorted(ready):
            requests += self._handle(Woken(child, now))
        if version != self._version and not ready:
            requests += self._handle(Woken(None, now))
        return requests

    def receive(
        self, sender: NodeId, task: str, kind: str, blobs: Mapping[str, bytes]
    ) -> list[Request]:
        """Take the answer that ``sender`` gave to ``task``; return the tasks to send now."""
        now, asked = self._node.clock.now_ms(), self._desk.issued(task)
        if kind == "artefacts":
            self._mending.take(sender, blobs)
            return []
        requests = self._catch_up()
        try:
            match kind:
                case "abstention":
                    return requests + self._handle(self._abstained(sender, task, blobs, now))
                case "update":
                    return requests + self._handle(self._update(sender, task, blobs, now))
                case _:
                    raise Refused(
                        Code.UNKNOWN_TYPE, f"A child answers update or abstention, not {kind}."
                    )
        except Refused as refused:
            claim = None
            if refused.claims and asked:
                claim = Claim(sender, asked.round, task, "refused", refused.code.value)
            update = named_update(self._node, sender, refused, blobs.get("envelope", b""))
            number = asked.round if asked else 0
            self._refusals.record(sender, refused, number, update, claim)
            if asked:
                requests += self._handle(AnswerRefused(sender, asked.round, now))
            return requests

    def _catch_up(self) -> list[Request]:
        """Read what another process recorded, so that nobody who was shut out is seated any more.

        A child that was shut out and let in again meanwhile begins anew: it has left, and comes
        back.
        """
        node, machine = self._node, self._machine
        node.catch_up()
        if node.state.own.latest is None:
            return []
        members, known = node.state.membership.active, self._departures
        self._departures = dict(node.state.membership.departures)
        left = {c for c, times in self._departures.items() if times > known.get(c, 0)}
        requests: list[Request] = []
        for heard in (tuple(c for c in members if c not in left), members):
            if heard != machine.members:
                requests += self._handle(MembersChanged(heard, node.clock.now_ms()))
        return requests

    def taken(self, node: NodeId, round: int, task: str) -> bool:
        """Return whether this task has had its answer: in the ledger, or waiting for the next
        round."""
        waits = ((a.update.node, a.update.round, a.update.task) for a in self._admitted.values())
        return (node, round, task) in waits or self._node.ledger.taken(node, round, task)

    # -- answers

    def _update(
        self, sender: NodeId, task: str, blobs: Mapping[str, bytes], now: int
    ) -> UpdateReceived:
        with costs_the_child():
            admitted = self._admission.admit(
                blobs.get("envelope", b""),
                blobs.get("payload", b""),
                sender=sender,
                task=task,
                version=self._node.state.own.version,
                age=self._node.state.own.age_of,
                now_ms=now,
            )
        update = admitted.update
        self._desk.answered(update.node, update.task)
        # Store it before it may be seated: what the ledger calls accepted must be on disk.
        self._node.artefacts.put(blobs["payload"])
        self._admitted[admitted.digest] = admitted
        return UpdateReceived(update.node, admitted.digest, update.round, update.version, now)

    def _abstained(
        self, sender: NodeId, task: str, blobs: Mapping[str, bytes], now: int
    ) -> AbstentionReceived:
        with costs_the_child():
            abstention: Abstention = self._admission.admit_abstention(
                blobs.get("envelope", b""), sender=sender, task=task, now_ms=now
            )
        child, number = abstention.node, abstention.round
        retry = self._machine.policy.retry_ms if abstention.retry else None
        if abstention.missing:
            retry = 0 if self._desk.wanted(child, number, abstention.missing) else None
        else:
            self._desk.answered(child, abstention.task)
        if retry is None and self._abstaining.get(child) != abstention.reason:
            # Once for each reason: a child may have nothing to send for months.
            self._abstaining[child] = abstention.reason
            self._node.record(Abstained(child=child, round=number, reason=abstention.reason))
            log.info("abstained", child=child[:12], round=number, reason=abstention.reason)
        resting = abstention.reason == NOTHING_NEW
        return AbstentionReceived(child, number, retry, now, resting)

    # -- what the machine decides

    def _handle(self, event: RoundEvent) -> list[Request]:
        state = self._node.state
        self._machine.quarantined = frozenset(
            filter(state.rounds.is_quarantined, self._machine.members)
        )
        return self._carry_out(self._machine.handle(event))

    def _carry_out(self, actions: list[RoundAction]) -> list[Request]:
        requests: list[Request] = []
        for action in actions:
            match action:
                case OpenRound():
                    self._open(action)
                case Ask():
                    requests.append(self._desk.issue(action))
                case Seat():
                    self._seat(action)
                case Supersede(child=child, update=update, reason=reason):
                    self._superseded(child, update, reason)
                case CloseRound():
                    requests += self._handle(self._close(action))
        return requests

    def _open(self, opened: OpenRound) -> None:
        policy, members = self._machine.policy, len(opened.members)
        event = RoundOpened(
            round=opened.round,
            deadline_ms=opened.deadline_ms,
            members=members,
            quorum=policy.quorum(members),
            tolerates=policy.tolerates(members),
        )
        self._node.record(event)
        self._desk.round_opened(opened.round)
        log.info("round-opened", **write(event)[1])

    def _seat(self, seat: Seat) -> None:
        admitted = self._admitted.pop(seat.update)
        update = admitted.update
        event = UpdateAccepted(
            child=seat.child,
            round=seat.round,
            late=seat.late,
            staleness=admitted.staleness,
            length=update.length,
            seat=Seated(
                seat.update,
                update.payload,
                update.payload_format.value,
                update.mask_rank,
                admitted.scale,
                update.samples,
                update.cumulative,
            ),
        )
        claim = Claim(update.node, update.round, update.task, "accepted", "")
        self._node.record(event, claim)
        self._abstaining.pop(seat.child, None)
        self._deltas[seat.update] = admitted.delta
        log.info("update-accepted", child=seat.child[:12], round=seat.round, late=seat.late)

    def _superseded(self, child: NodeId, update: Digest, reason: str) -> None:
        """Refuse an update that passed admission, and mark its task as answered.

        The child hears of it from the next release, so the update must not be seated later.
        """
        refused = Refused(Code(reason), "Another update of this child counts in this round.")
        claim = None
        self._deltas.pop(update, None)
        if admitted := self._admitted.pop(update, None):  # else it had a seat, and so a claim
            task = admitted.update
            claim = Claim(child, task.round, task.task, "refused", reason)
        self._refusals.record(child, refused, update=update, claim=claim)

    def _close(self, close: CloseRound) -> RoundDone:
        """Settle a closed round.

        The ledger decides which children have a seat: one that was shut out meanwhile has lost
        its own there already.
        """
        node, deltas = self._node, self._deltas
        self._deltas = {}
        if close.outcome is Outcome.VOID:
            self._settlement.close_void(close.round, len(close.updates))
            return RoundDone({}, node.clock.now_ms())
        opened = node.state.rounds.open
        seats = dict(opened.seated) if opened else {}
        f = self._machine.policy.tolerates(len(self._machine.members))
        counted = self._settlement.settle(
            close.round, seats, f, self._refusals.verdicts, close.absent, deltas
        )
        if counted:
            self._refusals.clear()
        versions = {child: node.state.rounds.counted[child] for child in counted}
        return RoundDone(versions, node.clock.now_ms())
