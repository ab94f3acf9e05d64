"""The node's rounds with its children: the open one, the counted children, and their offences."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from nodes.state.events import (
    Released,
    RoundClosed,
    RoundOpened,
    UpdateAccepted,
    UpdateRefused,
)
from nodes.state.records import DurableRound, StandIn
from protocol import Digest, NodeId, VerdictKind

OFFENCES = 2
"""Updates outvoted and far from the rest, or signed and yet unusable: then quarantine."""


@dataclass
class Rounds:
    """Collections of updates, as far as they are durable.

    Attributes:
        next: the number of the next round. ``open``: the one that is open.
        counted: the node's version that last counted each child.
        judged: the last round in which an update of each child was aggregated and came to the gate.
        offences: of each child, what counts towards quarantine.
        stand_ins: the last accepted update of each child whose offers do not add up.
    """

    next: int = 1
    open: DurableRound | None = None
    counted: dict[NodeId, int] = field(default_factory=dict)
    judged: dict[NodeId, int] = field(default_factory=dict)
    offences: dict[NodeId, int] = field(default_factory=dict)
    stand_ins: dict[NodeId, StandIn] = field(default_factory=dict)

    def is_quarantined(self, child: NodeId) -> bool:
        """Return whether this child offended so often that its updates get no weight.

        Its updates are still received and recorded. Enrolling the child again is a person's pardon.
        """
        return self.offences.get(child, 0) >= OFFENCES

    def start(self, event: RoundOpened) -> None:
        """Open a round."""
        self.open = DurableRound(event.round, event.deadline_ms)
        self.next = event.round + 1

    def seat(self, event: UpdateAccepted) -> None:
        """Seat an update in the open round."""
        if self.open and self.open.round == event.round:
            self.open.seated[event.child] = event.seat

    def seated(self, child: NodeId | None = None) -> list[Digest]:
        """List the updates that wait in the open round: all, or a child's."""
        seats = self.open.seated.items() if self.open else ()
        return [seat.update for node, seat in seats if child in (None, node)]

    def close(self, event: RoundClosed) -> None:
        """End the open round without a release."""
        if event.outcome == "refused-by-gate":
            self._remember_judged()
        self.open = None

    def refuse(self, event: UpdateRefused) -> None:
        """Count a refusal against the child that signed the refused update.

        Anybody can send rubbish in a child's name; that counts against nobody.
        """
        if event.claimed:
            self._offend(event.child)

    def release(self, event: Released) -> None:
        """Record the verdicts of the round that made a release, and end it."""
        for child in event.accepted:
            self.counted[child] = event.held.version
        self._remember_stand_ins(event)
        for verdict in event.verdicts:
            if verdict.code == "outvoted":
                self._offend(verdict.node)
        self._remember_judged()
        self.open = None

    def pardon(self, child: NodeId) -> None:
        """Forget what a child did before it was enrolled again."""
        self.offences.pop(child, None)

    def shut_out(self, child: NodeId) -> None:
        """Drop the waiting updates of a child that was suspended or revoked."""
        self.forget_stand_in(child)
        if self.open:
            self.open.seated.pop(child, None)

    def forget_stand_in(self, child: NodeId) -> None:
        """Remove this child's stand-in."""
        self.stand_ins.pop(child, None)

    def forget_taken_back(
        self, updates: Iterable[Digest], is_undone: Callable[[int], bool]
    ) -> None:
        """Forget stand-ins whose update, or whose release, was taken back."""
        gone = set(updates)
        self.stand_ins = {
            child: standing
            for child, standing in self.stand_ins.items()
            if not is_undone(standing.version) and standing.seat.update not in gone
        }

    def _remember_judged(self) -> None:
        if self.open:
            self.judged |= dict.fromkeys(self.open.seated, self.open.round)

    def _remember_stand_ins(self, event: Released) -> None:
        """Remember non-cumulative updates as stand-ins, and how often each has stood in."""
        seated = self.open.seated if self.open else {}
        for child in event.accepted:
            self.forget_stand_in(child)
            if child in seated and not seated[child].cumulative:
                self.stand_ins[child] = StandIn(seated[child], event.held.version)
        for verdict in event.verdicts:
            standing = self.stand_ins.get(verdict.node)
            if verdict.verdict is VerdictKind.STAND_IN and standing:
                self.stand_ins[verdict.node] = replace(standing, stood=standing.stood + 1)

    def _offend(self, child: NodeId) -> None:
        self.offences[child] = self.offences.get(child, 0) + 1
