"""What became of the last updates of a node's children, for their receipts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from nodes.state.events import Released, RoundClosed, UpdateAccepted, UpdateRefused
from nodes.state.records import UpdateFate
from protocol import Digest, Fate, Verdict, VerdictKind

REMEMBERED = 4096
"""Updates whose fate a state remembers; of older ones no receipt can be had."""

SUPERSEDED = frozenset({"superseded", "already-answered"})
"""Codes of an update in whose place another answer of the same child was taken."""
WITHDRAWN = "withdrawn"
"""The code of a verdict that takes back an earlier one."""


def fate_of(verdict: Verdict) -> Fate | None:
    """Return what a verdict of a release makes of the update that it names.

    None for a stand-in: an earlier release has said what became of that update itself.
    """
    match verdict.verdict:
        case VerdictKind.ACCEPTED:
            return Fate.COUNTED
        case VerdictKind.OUTVOTED:
            return Fate.OUTVOTED
        case VerdictKind.STAND_IN:
            return None
        case VerdictKind.REFUSED:
            if verdict.code == WITHDRAWN:
                return Fate.WITHDRAWN
            return Fate.LEFT_OUT if verdict.code in SUPERSEDED else Fate.REFUSED


@dataclass
class Fates:
    """The fates of updates by their digests, the oldest first.

    An update's own statement names its child, so its digest is of one child only.
    """

    known: dict[Digest, UpdateFate] = field(default_factory=dict)

    def seat(self, event: UpdateAccepted) -> None:
        """An update got its seat: it waits for the end of its round."""
        fate = UpdateFate(event.child, event.round, Fate.WAITING)
        self._set(event.seat.update, fate)

    def refuse(self, event: UpdateRefused) -> None:
        """An update was refused, or another answer of its child was taken in its place."""
        update, known = event.update, self.known.get(event.update)
        left_out = event.code in SUPERSEDED
        if not update or (known and not (left_out and known.fate is Fate.WAITING)):
            return  # what is known of an update does not change because it is sent again
        fate = Fate.LEFT_OUT if left_out else Fate.REFUSED
        round_ = event.round or (known.round if known else 0)
        self._set(update, UpdateFate(event.child, round_, fate, event.code))

    def close(self, event: RoundClosed, seated: Iterable[Digest]) -> None:
        """The round of these updates ended without a release."""
        self.leave_out(seated, event.code or event.outcome)

    def leave_out(self, updates: Iterable[Digest], code: str) -> None:
        """Nothing comes of these waiting updates."""
        for update in updates:
            known = self.known.get(update)
            if known and known.fate is Fate.WAITING:
                self.known[update] = replace(known, fate=Fate.LEFT_OUT, code=code)

    def release(self, event: Released) -> None:
        """A release names updates: those of its round, or those that it takes out again."""
        for verdict in event.verdicts:
            fate, known = fate_of(verdict), self.known.get(verdict.update)
            if fate is None or not verdict.update:
                continue
            if known and known.version and fate is not Fate.WITHDRAWN:
                continue
            round_ = known.round if known else event.round
            version, share = event.held.version, verdict.share
            self._set(
                verdict.update,
                UpdateFate(verdict.node, round_, fate, verdict.code, version, share),
            )

    def _set(self, update: Digest, fate: UpdateFate) -> None:
        self.known[update] = fate
        if len(self.known) > REMEMBERED:
            del self.known[next(iter(self.known))]
