"""What a ledger says of a node's children, folded as it grows: for the node's own status.

``NodeState`` has who belongs and who is quarantined; this has what only informs: what each child
last sent, why it was refused or abstains, and since when. It can be written down, so that nobody
folds a long ledger anew.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field

from nodes.state.checkpoint import has
from nodes.state.event_codec import read
from nodes.state.events import (
    Abstained,
    LedgerEvent,
    MemberEnrolled,
    MemberResumed,
    MemberRevoked,
    MemberSuspended,
    Released,
    RoundClosed,
    UpdateAccepted,
    UpdateRefused,
)
from nodes.state.interfaces import Events
from nodes.state.ledger import START, Head
from nodes.state.node_state import NodeState
from nodes.state.rounds import OFFENCES
from nodes.trust.standing import Standing, standing_of
from protocol import Certificate, Digest, NodeId, ReleaseKind

_CLASSES: tuple[type[LedgerEvent], ...] = (
    Abstained,
    MemberEnrolled,
    MemberResumed,
    MemberRevoked,
    MemberSuspended,
    Released,
    RoundClosed,
    UpdateAccepted,
    UpdateRefused,
)


@dataclass
class ChildRecord:
    """What is known of one child; times are milliseconds since the epoch, 0 for never.

    Attributes:
        refused, abstains: the code of what it last got or said; empty when an update was accepted.
        since_ms: when that began, or when the child was enrolled.
        heard_ms: when it last answered.
        offences: when it offended, as far as that counts towards quarantine.
        out_ms: when it was last suspended or revoked.
    """

    refused: str = ""
    abstains: str = ""
    since_ms: int = 0
    heard_ms: int = 0
    offences: list[int] = field(default_factory=list)
    out_ms: int = 0

    def hear(self, at_ms: int, *, refused: str = "", abstains: str = "") -> None:
        """Note an answer; the moment stays that of the first answer of its kind."""
        self.heard_ms = at_ms
        if (self.refused, self.abstains) != (refused, abstains):
            self.refused, self.abstains, self.since_ms = refused, abstains, at_ms

    def offend(self, at_ms: int) -> None:
        """Note an offence; those after the one that led to quarantine say nothing more."""
        if len(self.offences) < OFFENCES:
            self.offences.append(at_ms)


@dataclass
class ChildrenFold:
    """The children of one node, and how its rounds ended.

    Attributes:
        children: by id, revoked ones included.
        refused: refusals by code since the node was made.
        outcome: how the last round ended, if it made no release.
        upto: the last event of the ledger that was looked at.
    """

    children: dict[NodeId, ChildRecord] = field(default_factory=dict)
    refused: Counter[str] = field(default_factory=Counter)
    outcome: str = ""
    upto: Head = field(default=Head(0, START))

    def catch_up(self, ledger: Events, head: Head) -> None:
        """Take in what a ledger holds up to ``head`` and beyond what was looked at.

        Raises what ``nodes.state.event_codec.read`` raises.
        """
        if head == self.upto:
            return
        for entry in ledger.events([cls.KIND for cls in _CLASSES], self.upto.seq):
            if entry.seq > head.seq:
                break
            self.take(read(entry), entry.at_ms)
        self.upto = head

    def take(self, event: LedgerEvent, at_ms: int) -> None:
        """Take in one event, recorded at ``at_ms``."""
        match event:
            case MemberEnrolled():
                self.children[event.child] = ChildRecord(since_ms=at_ms)
            case MemberSuspended() | MemberRevoked():
                self._record(event.child).out_ms = at_ms
            case MemberResumed():
                self._record(event.child).since_ms = at_ms
            case UpdateAccepted():
                self._record(event.child).hear(at_ms)
            case Abstained():
                self._record(event.child).hear(at_ms, abstains=event.reason)
            case UpdateRefused():
                self.refused[event.code] += 1
                record = self._record(event.child)
                record.hear(at_ms, refused=event.code)
                if event.claimed:
                    record.offend(at_ms)
            case Released():
                self._release(event, at_ms)
            case RoundClosed():
                self.outcome = event.outcome

    def _release(self, event: Released, at_ms: int) -> None:
        if event.kind is ReleaseKind.ROUND:
            self.outcome = ""
        for verdict in event.verdicts:
            if verdict.code == "outvoted":
                self._record(verdict.node).offend(at_ms)
            elif verdict.code == "quarantined":
                self.refused[verdict.code] += 1

    def _record(self, child: NodeId) -> ChildRecord:
        return self.children.setdefault(child, ChildRecord())

    # -- written down

    def to_json(self) -> str:
        """Write it down."""
        children = {child: asdict(record) for child, record in self.children.items()}
        values = {"children": children, "refused": dict(self.refused), "outcome": self.outcome}
        return json.dumps(values | {"upto": list(self.upto)})

    @classmethod
    def from_json(cls, text: str, ledger: Events) -> ChildrenFold:
        """Read what was written down; begin anew if it is damaged or of another ledger."""
        try:
            values = json.loads(text)
            upto = Head(int(values["upto"][0]), Digest(values["upto"][1]))
            children = {
                NodeId(n): ChildRecord(**record) for n, record in values["children"].items()
            }
            fold = cls(children, Counter(values["refused"]), values["outcome"], upto)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            return cls()
        return fold if upto.seq and has(ledger, upto) else cls()


@dataclass(frozen=True)
class ChildStanding:
    """How a parent sees a child: a state, the code behind it, and since when."""

    state: str
    reason: str = ""
    since_ms: int = 0


def seen_as(
    state: NodeState,
    child: NodeId,
    record: ChildRecord,
    certificate: Certificate | None,
    now_ms: int,
) -> ChildStanding:
    """Say how a parent sees a child; what weighs more comes first.

    Args:
        certificate: the child's present one; None where it cannot be read.
    """
    stands = standing_of(state.membership, child, certificate, now_ms)
    if stands is Standing.LAPSED and certificate is not None:
        return ChildStanding(stands.value, stands.code, certificate.valid_until_ms)
    if stands in (Standing.REVOKED, Standing.SUSPENDED):
        return ChildStanding(stands.value, stands.code, record.out_ms)
    if state.rounds.is_quarantined(child):
        since = record.offences[-1] if record.offences else record.since_ms
        return ChildStanding("quarantined", record.refused or "quarantined", since)
    if record.refused:
        return ChildStanding("refused", record.refused, record.since_ms)
    if record.abstains:
        return ChildStanding("abstaining", record.abstains, record.since_ms)
    return ChildStanding("active", "", record.since_ms)
