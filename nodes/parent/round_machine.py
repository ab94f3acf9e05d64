"""The round state machine of a parent: events in, actions out, no input or output of its own.

A round is one collection of updates. The machine decides whom to ask, when to ask again, when the
round is over and with which updates; it never sees a tensor, a socket, a clock or a file. The
daemon, the Flower apps and the simulator drive this same object, so a whole network can be
replayed from a list of events.

It guarantees: every child has at most one update in a round; an update is in at most one round;
a round ends at quorum (and a grace period for the rest), when everybody has answered, or at its
deadline, whichever comes first; a round with fewer than ``2f + 1`` updates is void.

Children to whom nothing is new cost nothing: while nobody sends an update, the pause between rounds
doubles. If some sent one, but fewer than it takes, the others are asked once more and insisted on.

Times are integers in milliseconds on whatever clock the driver uses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nodes.config.policy import RoundPolicy
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
from protocol import Digest, NodeId


@dataclass
class _Slot:
    """The state of one child in a round."""

    attempt: int = 0
    ask_at_ms: int | None = 0
    update: Digest | None = None
    answers: int | None = None  # the round that the update in this slot answered
    silent: bool = False  # abstained for good, or refused too often
    heard: bool = False  # it abstained, for good or for a while
    resting: bool = False  # nothing was new to it
    insists: bool = False  # it is asked to answer all the same
    refusals: int = 0

    @property
    def settled(self) -> bool:
        return self.update is not None or self.silent


@dataclass
class _Collection:
    number: int
    opened_ms: int
    deadline_ms: int
    slots: dict[NodeId, _Slot]
    quorum_ms: int | None = None
    asked: dict[NodeId, int] = field(default_factory=dict)
    """How often each child that left was asked: its next task, if it returns, needs a new name."""


@dataclass
class RoundMachine:
    """Rounds at one parent. Feed it events as they happen; carry out its actions in order."""

    policy: RoundPolicy
    members: tuple[NodeId, ...] = ()
    next_round: int = 1
    counted: dict[NodeId, int] = field(default_factory=dict)
    open: _Collection | None = None
    closing: bool = False
    paused_until_ms: int = 0
    idle_rounds: int = 0
    """Rounds in a row in which every child abstained for good."""
    quarantined: frozenset[NodeId] = frozenset()
    """Children whose updates have no weight: asked and recorded, but nobody waits for them."""
    _late: dict[NodeId, tuple[Digest, int]] = field(default_factory=dict)
    _now_ms: int = 0

    def resume(
        self, number: int, deadline_ms: int, seated: Mapping[NodeId, Digest], now_ms: int
    ) -> None:
        """Go on with a round that was open when the process ended: ``seated`` keep their seats.

        It ends no later than one that opens now: the clock may have been set back meanwhile.
        """
        deadline_ms = min(deadline_ms, now_ms + self.policy.deadline_ms)
        slots = {child: _Slot() for child in self.members}
        for child, update in seated.items():
            slots[child] = _Slot(ask_at_ms=None, update=update, answers=number)
        self.open = _Collection(number, now_ms, deadline_ms, slots)
        self.next_round = number + 1

    def handle(self, event: RoundEvent) -> list[RoundAction]:
        """Take one event and return the actions to carry out now, in order."""
        self._follow_clock(event.now_ms)
        actions: list[RoundAction] = []
        match event:
            case Tick():
                pass
            case MembersChanged(members=members):
                actions += self._set_members(members, event.now_ms)
            case UpdateReceived():
                actions += self._receive(event)
            case AnswerRefused(child=child, round=number):
                slot = self._slot(child, number)
                if slot and slot.answers != number:
                    slot.refusals += 1
                    again = slot.refusals < self.policy.max_refusals
                    slot.ask_at_ms = event.now_ms + self.policy.refused_ms if again else None
                    slot.silent = not again and slot.update is None
            case AbstentionReceived():
                self._abstain(event)
            case Woken(child=child, now_ms=now_ms):
                self._wake(child, now_ms)
            case RoundDone(counted=counted, now_ms=now_ms):
                self.counted.update(counted)
                self.open, self.closing = None, False
                self.paused_until_ms = now_ms + self.policy.pause(self.idle_rounds)
        return actions + self._advance(event.now_ms)

    @property
    def next_ms(self) -> int | None:
        """The next time at which a ``Tick`` changes something; None: only other events do."""
        if self.closing:
            return None
        if self.open is None:
            return self.paused_until_ms if self.members else None
        asks = [c.ask_at_ms for c in self.open.slots.values() if c.ask_at_ms is not None]
        return min(self._ends_ms(self.open), *asks) if asks else self._ends_ms(self.open)

    # -- events

    def _set_members(self, members: Iterable[NodeId], now_ms: int) -> list[RoundAction]:
        self.members = tuple(sorted(members))
        if self.open:
            for child in [c for c in self.open.slots if c not in self.members]:
                self.open.asked[child] = self.open.slots.pop(child).attempt
            for child in self.members:
                slot = _Slot(attempt=self.open.asked.get(child, 0))
                self.open.slots.setdefault(child, slot)
            self._count_quorum(self.open, now_ms)
        gone = [child for child in self._late if child not in self.members]
        return [Supersede(child, self._late.pop(child)[0], "superseded") for child in gone]

    def _receive(self, event: UpdateReceived) -> list[RoundAction]:
        child, update = event.child, event.update
        # What a child sends contains all it learned since its baseline. An update that started
        # before the release that last counted this child would count that part twice.
        counted_since = event.started < self.counted.get(child, 0)
        if counted_since or child not in self.members:
            return [Supersede(child, update, "superseded")]
        if self.open is None or self.closing:
            if self._late.get(child, ("", 0))[0] == update:
                return []  # the same message again: it waits already
            if child in self._late:
                return [Supersede(child, update, "already-answered")]
            self._late[child] = (update, event.round)
            return []
        slot = self.open.slots.get(child)
        if slot is None:
            return [Supersede(child, update, "superseded")]
        fresh = event.round == self.open.number
        if slot.update is None:
            return [self._seat(slot, child, update, event.round, event.now_ms)]
        if fresh and slot.answers != self.open.number:
            replaced = Supersede(child, slot.update, "superseded")
            return [replaced, self._seat(slot, child, update, event.round, event.now_ms)]
        return [Supersede(child, update, "already-answered")]

    def _seat(self, slot: _Slot, child: NodeId, update: Digest, answers: int, now: int) -> Seat:
        assert self.open is not None  # noqa: S101  only called on an open round
        late = answers != self.open.number
        slot.update, slot.answers = update, answers
        if not late:
            slot.ask_at_ms = None
        self._count_quorum(self.open, now)
        return Seat(child, update, self.open.number, late)

    def _count_quorum(self, current: _Collection, now_ms: int) -> None:
        """Note when quorum was reached; the loss of a seat may undo it."""
        if self._weighty(current) < self.policy.quorum(len(current.slots)):
            current.quorum_ms = None
        elif current.quorum_ms is None:
            current.quorum_ms = now_ms

    def _weighty(self, current: _Collection) -> int:
        """Count the seated updates that have weight."""
        return sum(
            slot.update is not None and child not in self.quarantined
            for child, slot in current.slots.items()
        )

    def _abstain(self, event: AbstentionReceived) -> None:
        if not (slot := self._slot(event.child, event.round)) or slot.answers == event.round:
            return
        slot.heard, slot.resting = True, event.resting and not slot.insists
        if event.retry_in_ms is not None:
            slot.ask_at_ms = event.now_ms + event.retry_in_ms
        else:
            # A late update in this slot stays: its child only has no newer one.
            slot.silent, slot.ask_at_ms = slot.update is None, None

    def _wake(self, child: NodeId | None, now_ms: int) -> None:
        """End a pause; in an open round, ask a child again that had nothing."""
        self.idle_rounds = 0
        self.paused_until_ms = min(self.paused_until_ms, now_ms + self.policy.pause_ms)
        slot = self.open.slots.get(child) if child and self.open and not self.closing else None
        if slot and slot.heard and slot.update is None:
            slot.resting = slot.silent = False
            slot.ask_at_ms = now_ms

    def _rouse(self, current: _Collection, now_ms: int) -> bool:
        """Insist on those who had nothing new, if others sent updates but too few; return whether
        there is anybody to ask."""
        needed = self.policy.needed(len(current.slots))
        resting = [slot for slot in current.slots.values() if slot.resting and slot.update is None]
        if not 0 < self._weighty(current) < needed or now_ms >= self._ends_ms(current):
            return False
        for slot in resting:
            slot.resting = slot.silent = False
            slot.insists, slot.ask_at_ms = True, now_ms
        return bool(resting)

    def _slot(self, child: NodeId, number: int) -> _Slot | None:
        if self.open is None or self.closing or self.open.number != number:
            return None
        return self.open.slots.get(child)

    # -- time

    def _follow_clock(self, now_ms: int) -> None:
        """If the clock was set back, shift every deadline by as much."""
        back, self._now_ms = self._now_ms - now_ms, now_ms
        if back <= 0:
            return
        self.paused_until_ms -= back
        if current := self.open:
            current.opened_ms -= back
            current.deadline_ms -= back
            if current.quorum_ms is not None:
                current.quorum_ms -= back
            for slot in current.slots.values():
                if slot.ask_at_ms is not None:
                    slot.ask_at_ms -= back

    def _advance(self, now_ms: int) -> list[RoundAction]:
        if self.closing:
            return []
        actions: list[RoundAction] = []
        if self.open is None:
            if not self.members or now_ms < self.paused_until_ms:
                return []
            actions += self._open(now_ms)
        current = self.open
        assert current is not None  # noqa: S101  opened just above
        if self._is_over(current, now_ms) and not self._rouse(current, now_ms):
            return [*actions, self._close(current)]
        for child, slot in current.slots.items():
            if slot.ask_at_ms is not None and slot.ask_at_ms <= now_ms:
                slot.attempt += 1
                slot.ask_at_ms = now_ms + self.policy.resend_ms
                ask = Ask(child, current.number, slot.attempt, current.deadline_ms, slot.insists)
                actions.append(ask)
        return actions

    def _open(self, now_ms: int) -> list[RoundAction]:
        number, deadline = self.next_round, now_ms + self.policy.deadline_ms
        self.next_round += 1
        self.open = _Collection(number, now_ms, deadline, {c: _Slot() for c in self.members})
        actions: list[RoundAction] = [OpenRound(number, deadline, self.members)]
        late, self._late = self._late, {}
        for child, (update, answers) in late.items():
            actions.append(self._seat(self.open.slots[child], child, update, answers, now_ms))
        return actions

    def _is_over(self, current: _Collection, now_ms: int) -> bool:
        # A late update keeps its seat, but its child may still send a fresh one until the grace
        # period ends; only slots that nobody waits for any more are settled.
        waited = [c for child, c in current.slots.items() if child not in self.quarantined]
        if all(c.settled and c.ask_at_ms is None for c in waited):
            return True
        return now_ms >= self._ends_ms(current)

    def _ends_ms(self, current: _Collection) -> int:
        """Return when the round ends if nobody else answers: after the grace period, or the
        deadline."""
        if current.quorum_ms is None:
            return current.deadline_ms
        took = current.quorum_ms - current.opened_ms
        grace_ends = current.quorum_ms + math.ceil(self.policy.grace * took)
        return min(grace_ends, current.deadline_ms)

    def _close(self, current: _Collection) -> CloseRound:
        self.closing = True
        updates = {c: slot.update for c, slot in current.slots.items() if slot.update}
        is_idle = not updates and all(slot.silent for slot in current.slots.values())
        self.idle_rounds = self.idle_rounds + 1 if is_idle else 0
        enough = self._weighty(current) >= self.policy.needed(len(current.slots))
        outcome = Outcome.AGGREGATE if enough else Outcome.VOID
        absent = [c for c, slot in current.slots.items() if not (slot.update or slot.heard)]
        return CloseRound(current.number, outcome, updates, tuple(absent))
