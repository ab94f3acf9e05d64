"""What a node's ledger says about it, for a person: the source of ``banyan node status``.

Reads the ledger only; the node may be running or not. The demo's live tree and its report use the
same figures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from nodes.state.event_codec import read
from nodes.state.events import (
    Abstained,
    DoorRefused,
    GateJudged,
    LedgerEvent,
    MemberEnrolled,
    MemberResumed,
    MemberRevoked,
    MemberSuspended,
    NodeCreated,
    Recovered,
    Released,
    RoundClosed,
    RoundOpened,
    TrafficCounted,
    Trained,
    UpdateAccepted,
    UpdateRefused,
)
from nodes.state.ledger import Ledger
from protocol import ReleaseKind, VerdictKind


@dataclass(frozen=True)
class Probed:
    """What the gate measured on one source: at its first gate and of what is held since the last.

    Means in nats per token, higher is worse; None where they are not finite. What safety probes
    score may be negative.
    """

    kind: str
    first: float | None
    now: float | None
    probes: int


@dataclass(frozen=True)
class Abstention:
    """A child that has nothing for its rounds: why, and since when.

    It ends with an accepted update, and begins anew with another reason. How often it said so is
    not known: a parent records a reason once.
    """

    reason: str
    since_ms: int


@dataclass
class Status:
    """Counts since the node was made; the loss is the last that its gate measured.

    ``loss`` is over the ordinary sources; ``sources`` has each source of probes by itself.
    ``members`` are the names of all who were enrolled, ``revoked`` the ids of those who are out,
    ``suspended`` of those whom a person paused, ``abstaining`` of those who last answered that they
    have nothing.
    """

    node: str = ""
    scope: str = ""
    version: int = 0
    round: int = 0
    round_open: bool = False
    tolerates: int = 0
    members: dict[str, str] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    suspended: list[str] = field(default_factory=list)
    abstaining: dict[str, Abstention] = field(default_factory=dict)
    releases: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    late: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    outvoted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    refused_by_child: dict[str, Counter[str]] = field(default_factory=dict)
    door: Counter[str] = field(default_factory=Counter)
    bytes_in: int = 0
    bytes_out: int = 0
    gates_passed: int = 0
    gates_refused: int = 0
    first_loss: float | None = None
    loss: float | None = None
    sources: dict[str, Probed] = field(default_factory=dict)
    trained_rounds: int = 0
    trained_tokens: int = 0
    trained_seconds: float = 0.0
    last_event_ms: int = 0
    upto: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        # Not ``asdict``: it makes a counter of what it counts in a counter.
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return values | {
            name: {key: asdict(value) for key, value in values[name].items()}
            for name in ("sources", "abstaining")
        }

    def take(self, event: LedgerEvent, at_ms: int) -> None:
        """Count one event."""
        self.last_event_ms = at_ms
        match event:
            case NodeCreated():
                self.node, self.scope = event.node, event.scope
            case MemberEnrolled():
                self.members[event.child] = event.name
                self.revoked = [child for child in self.revoked if child != event.child]
            case MemberRevoked():
                self._shut_out(event.child)
                self.revoked.append(event.child)
            case MemberSuspended():
                self._shut_out(event.child)
                self.suspended.append(event.child)
            case MemberResumed():
                self._shut_out(event.child)
            case Recovered():
                self.version = event.published[-1].held.version if event.published else 0
            case RoundOpened():
                self.round, self.round_open = event.round, True
                self.tolerates = event.tolerates
            case RoundClosed():
                self.round_open = False
            case UpdateAccepted():
                self.accepted += 1
                self.late += event.late
                self.abstaining.pop(event.child, None)
            case Abstained():
                self._abstain(event, at_ms)
            case UpdateRefused():
                self._refuse(event.child, event.code)
            case DoorRefused():
                self.door[event.code] += event.count
            case GateJudged():
                self._judge(event)
            case Released():
                self._release(event)
            case TrafficCounted():
                self.bytes_in += event.bytes_in
                self.bytes_out += event.bytes_out
            case Trained():
                self.trained_rounds += 1
                self.trained_tokens += event.measured.tokens
                self.trained_seconds += event.measured.seconds

    def _shut_out(self, child: str) -> None:
        """Forget what is said of a child that a person suspends, resumes or revokes."""
        self.suspended = [other for other in self.suspended if other != child]
        self.abstaining.pop(child, None)

    def _abstain(self, event: Abstained, at_ms: int) -> None:
        known = self.abstaining.get(event.child)
        if known is None or known.reason != event.reason:
            self.abstaining[event.child] = Abstention(event.reason, at_ms)

    def _judge(self, event: GateJudged) -> None:
        self.gates_passed += event.accepted
        self.gates_refused += not event.accepted
        if self.first_loss is None:
            self.first_loss = event.before
        self.loss = event.after if event.accepted else event.before
        for figures in event.sources:
            known = self.sources.get(figures.source)
            self.sources[figures.source] = Probed(
                figures.kind,
                known.first if known else figures.before,
                figures.after if event.accepted else figures.before,
                figures.count,
            )

    def _release(self, event: Released) -> None:
        self.version = event.held.version
        self.releases[event.kind] += 1
        if event.kind is ReleaseKind.ROUND:
            self.round_open = False
        for verdict in event.verdicts:
            self.counted[verdict.node] += verdict.verdict is VerdictKind.ACCEPTED
            self.outvoted[verdict.node] += verdict.verdict is VerdictKind.OUTVOTED
            if verdict.code == "quarantined":
                self._refuse(verdict.node, "quarantined")

    def _refuse(self, child: str, code: str) -> None:
        self.refused[code] += 1
        self.refused_by_child.setdefault(child, Counter())[code] += 1


class StatusReader:
    """Follows one ledger; ``read`` takes in what is new since the last call."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "ledger.sqlite"
        self.status = Status()

    def read(self) -> Status:
        """Read the status as of now; a node that never ran has an empty one.

        Raises ``NodeError`` ``no-node`` when there is no node in the folder.
        """
        if not self._path.exists():
            if not (self._path.parent / "identity.pem").exists():
                raise NodeError("no-node", f"There is no node in {self._path.parent}.")
            return self.status
        with Ledger.open_read_only(self._path) as ledger:
            for entry in ledger.events(after=self.status.upto):
                self.status.take(read(entry), entry.at_ms)
                self.status.upto = entry.seq
        return self.status
