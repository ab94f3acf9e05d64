"""The vocabulary of the ledger: one frozen dataclass for each kind of event.

The ledger is the state, so these classes are what a node can remember; ``event_codec`` writes and
reads them. A class has a ``VERSION``. A new field raises the version, and has a default that gives
the meaning of older entries.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from aggregation.gate import Budget, GateVerdict, Reason, SourceFigures
from nodes.state.records import ZERO, HeldRelease, Published, Seated, TrainingMeasured, Undone
from protocol import (
    Digest,
    Fate,
    KeyId,
    Member,
    NodeId,
    ProbeLoss,
    ReleaseKind,
    Role,
    Scope,
    Verdict,
)

Versions = tuple[int, int]
"""Versions of one scope, (after, until]."""


@dataclass(frozen=True, kw_only=True)
class LedgerEvent:
    """Something that a node did or learned. Digests name artefacts; ``ZERO`` names none."""

    KIND: ClassVar[str]
    VERSION: ClassVar[int] = 1


# What the node is, and who belongs to it ----------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class NodeCreated(LedgerEvent):
    """The first event of every ledger."""

    KIND = "node-created"
    node: NodeId
    scope: str


@dataclass(frozen=True, kw_only=True)
class MemberEnrolled(LedgerEvent):
    """The node signed a child's certificate, again if the child was a member before.

    ``certificate`` is the digest of its envelope. Version 1 named neither key: the signing key was
    the node's first, which its id is the digest of; the transport key is in the certificate. No key
    had been replaced yet.
    """

    KIND = "member-enrolled"
    VERSION = 2
    child: NodeId
    certificate: Digest
    name: str
    role: Role
    scope: str
    key: KeyId | None = None
    transport: Digest | None = None
    epoch: int | None = None

    @classmethod
    def from_member(cls, member: Member) -> MemberEnrolled:
        """Make the event for a new member."""
        return cls(
            child=member.node,
            certificate=member.certificate,
            name=member.name,
            role=member.role,
            scope=str(member.scope),
            key=member.key,
            transport=member.transport,
            epoch=member.epoch,
        )

    @property
    def member(self) -> Member:
        """Return what the rules of membership need of the certificate."""
        return Member(
            node=self.child,
            key=self.key or KeyId(self.child),
            transport=self.transport or ZERO,
            epoch=self.epoch or 1,
            scope=Scope.parse(self.scope),
            role=self.role,
            name=self.name,
            certificate=self.certificate,
        )


@dataclass(frozen=True, kw_only=True)
class MemberRenewed(LedgerEvent):
    """The node signed a member's certificate anew: only its validity is another.

    Nobody decided anything: what the member did before still counts against it.
    """

    KIND = "member-renewed"
    child: NodeId
    certificate: Digest


@dataclass(frozen=True, kw_only=True)
class MemberRevoked(LedgerEvent):
    """A person took a child's membership back."""

    KIND = "member-revoked"
    child: NodeId


@dataclass(frozen=True, kw_only=True)
class MemberSuspended(LedgerEvent):
    """A person paused a child: it is not heard until it is resumed or revoked."""

    KIND = "member-suspended"
    child: NodeId


@dataclass(frozen=True, kw_only=True)
class MemberResumed(LedgerEvent):
    """A person let a suspended child go on; what it did before still counts against it."""

    KIND = "member-resumed"
    child: NodeId


@dataclass(frozen=True, kw_only=True)
class Recovered(LedgerEvent):
    """The ledger before this one was lost; what is here was proven by signatures.

    Attributes:
        published: the node's proven releases, oldest first; the last is what it holds, and nothing
            of it is on offer.
        undone: the spans of own versions that stand no longer.
        sequence, round, tests: where snapshots, rounds and the gate's tests go on.
    """

    KIND = "recovered"
    published: tuple[Published, ...]
    undone: tuple[Versions, ...]
    sequence: int
    round: int
    tests: int


# The chain above ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ChainInstalled(LedgerEvent):
    """The node follows a new chain of its parent.

    Attributes:
        snapshot, envelope: the digest of the signed snapshot, and of its stored bytes.
        brought, undone: which versions of each scope above came in, and what they take back; None
            where nothing changed but the snapshot's signature.
        share, effect: ρ, and how the effective model changed; None at a node that has no adapter.
        adapter, baseline, copies: where the node's own vectors are afterwards.
    """

    KIND = "chain-installed"
    snapshot: Digest
    envelope: Digest
    sequence: int
    chain: tuple[HeldRelease, ...]
    brought: Mapping[str, Versions] | None = None
    undone: Undone | None = None
    share: float | None = None
    effect: Digest | None = None
    adapter: Digest | None = None
    baseline: Digest | None = None
    copies: Mapping[Digest, Digest] | None = None


@dataclass(frozen=True, kw_only=True)
class ReceiptsRead(LedgerEvent):
    """All verdicts of the parent's releases up to ``upto`` are recorded."""

    KIND = "receipts-read"
    upto: Digest


# What the node releases ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Released(LedgerEvent):
    """The node signed a release.

    Attributes:
        moved: by what the adapter moved.
        rehearsal: the part of ``moved`` that is the node's own rehearsal.
        undone: the spans of own versions that stand no longer, all of them.
    """

    KIND = "released"
    held: HeldRelease
    kind: ReleaseKind
    moved: Digest
    round: int
    step: float
    accepted: tuple[NodeId, ...]
    verdicts: tuple[Verdict, ...]
    losses: tuple[ProbeLoss, ...]
    rehearsal: Digest
    undone: tuple[Versions, ...]


@dataclass(frozen=True, kw_only=True)
class Withdrawn(LedgerEvent):
    """Release ``version`` took a child out of earlier ones; ``moved``: by what each changed."""

    KIND = "withdrawn"
    child: NodeId
    version: int
    moved: Mapping[int, Digest]


# What the node offers its parent ------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Trained(LedgerEvent):
    """A device learned a delta for a round, from version ``started`` of its parent.

    ``adapter`` is what a personal device holds afterwards; None at a plain one.
    """

    KIND = "trained"
    round: int
    delta: Digest
    started: int
    samples: int
    measured: TrainingMeasured
    adapter: Digest | None = None


@dataclass(frozen=True, kw_only=True)
class UpdateSent(LedgerEvent):
    """An offer left: the copy of the adapter that it leads to, and the own version it holds.

    A plain device has no copy. Version 1 did not record its updates, nor the task's deadline.
    """

    KIND = "update-sent"
    VERSION = 2
    round: int
    update: Digest
    length: int
    copy: Digest = ZERO
    version: int = 0
    deadline_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class ReceiptKept(LedgerEvent):
    """The parent signed what became of an update of this node's own.

    Attributes:
        receipt, release: the stored envelopes; ``ZERO`` where no release names the update.
        contradicts: the receipt and the release, or two receipts, cannot both be true.
    """

    KIND = "receipt-kept"
    update: Digest
    receipt: Digest
    release: Digest
    fate: Fate
    code: str
    round: int
    version: int
    contradicts: bool = False


@dataclass(frozen=True, kw_only=True)
class OfferCounted(LedgerEvent):
    """The parent's release ``version`` counts an update: its delta is not on offer any more."""

    KIND = "offer-counted"
    update: Digest
    version: int
    delta: Digest


@dataclass(frozen=True, kw_only=True)
class OfferSettled(LedgerEvent):
    """The parent gave an update a verdict by which nothing of it counts."""

    KIND = "offer-settled"
    update: Digest


@dataclass(frozen=True, kw_only=True)
class OfferWithdrawn(LedgerEvent):
    """The parent took back a verdict: what it had counted is on offer again."""

    KIND = "offer-withdrawn"
    update: Digest
    baseline: Digest
    copies: Mapping[Digest, Digest]


@dataclass(frozen=True, kw_only=True)
class PositionMended(LedgerEvent):
    """The node lost vectors of its own that nobody else has, and goes on without them.

    ``adapter`` is what it holds of its own from now on, ``baseline`` what counts as counted; no
    copy is under way any more.
    """

    KIND = "position-mended"
    adapter: Digest
    baseline: Digest


# Rounds with the children -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RoundOpened(LedgerEvent):
    """A round is open for ``members`` children, until ``deadline_ms`` at the latest."""

    KIND = "round-opened"
    round: int
    deadline_ms: int
    members: int
    quorum: int
    tolerates: int


@dataclass(frozen=True, kw_only=True)
class UpdateAccepted(LedgerEvent):
    """An update passed admission and has its seat in the open round."""

    KIND = "update-accepted"
    child: NodeId
    round: int
    late: bool
    staleness: int
    length: int
    seat: Seated


@dataclass(frozen=True, kw_only=True)
class UpdateRefused(LedgerEvent):
    """An answer in a child's name was refused. ``claimed``: the child itself had signed it."""

    KIND = "update-refused"
    child: NodeId
    code: str
    sentence: str
    round: int
    update: Digest
    claimed: bool


@dataclass(frozen=True, kw_only=True)
class Abstained(LedgerEvent):
    """A child has nothing for this round, and says why.

    While it says the same in later rounds, it is not recorded again.
    """

    KIND = "abstained"
    child: NodeId
    round: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class RoundClosed(LedgerEvent):
    """A round ended without a release.

    ``outcome``: ``void`` (too few updates), ``refused-by-gate``, or ``failed`` with a code and a
    sentence.
    """

    KIND = "round-closed"
    round: int
    outcome: str
    updates: int | None = None
    code: str | None = None
    sentence: str | None = None


@dataclass(frozen=True, kw_only=True)
class Aggregated(LedgerEvent):
    """What an aggregation was made of, so that it can be computed again.

    Attributes:
        applied: the stages of the pipeline that applied. ``moved``: coordinates that moved.
        updates: for each child its weight, clipping, norm, distance and cosine.
        agreement: the cosine with what other rules make of the same updates.
    """

    KIND = "aggregated"
    round: int
    f: int
    seed: int
    pipeline: tuple[str, ...]
    seats: Mapping[NodeId, Seated]
    applied: tuple[str, ...]
    moved: int
    updates: Mapping[NodeId, Mapping[str, float]]
    agreement: Mapping[str, float]


# The gate -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class GateJudged(LedgerEvent):
    """The gate judged one candidate: see ``aggregation.gate.GateVerdict``."""

    KIND = "gate"
    round: int
    step: float
    rehearsal: Digest
    accepted: bool
    reasons: tuple[Reason, ...]
    before: float | None
    after: float | None
    log10_e: float | None
    level: float
    sources: tuple[SourceFigures, ...]
    reused: tuple[str, ...]
    budget: Budget

    @classmethod
    def from_verdict(
        cls, round: int, step: float, rehearsal: Digest, verdict: GateVerdict
    ) -> GateJudged:
        """Make the event for a verdict on the candidate of a step."""
        return cls(round=round, step=step, rehearsal=rehearsal, **vars(verdict))


@dataclass(frozen=True, kw_only=True)
class ProbesUsed(LedgerEvent):
    """Probes were drawn for a gate: for each source their names."""

    KIND = "probes-used"
    probes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class BestHeld(LedgerEvent):
    """For some sources of probes, the best state that the node ever held is another now."""

    KIND = "best-held"
    best: Mapping[str, Digest]


# The door -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class DoorRefused(LedgerEvent):
    """Strangers were refused at the door, ``count`` times for the same reason."""

    KIND = "door-refused"
    code: str
    detail: str
    count: int


@dataclass(frozen=True, kw_only=True)
class TrafficCounted(LedgerEvent):
    """Bytes that passed the door while the daemon ran."""

    KIND = "traffic"
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, kw_only=True)
class PeerFaulted(LedgerEvent):
    """Another node gave what cannot be right: ``code`` says what, ``artefact`` what was asked for.

    It is not asked again for a while.
    """

    KIND = "peer-faulted"
    peer: NodeId
    code: str
    artefact: Digest


KINDS: Mapping[str, type[LedgerEvent]] = {cls.KIND: cls for cls in LedgerEvent.__subclasses__()}
"""Every kind of event by its name in the ledger."""
