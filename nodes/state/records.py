"""The records of which a node's state is made, each as an event of the ledger gave it.

Vectors are named by the digest of their artefact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from protocol import Digest, Fate, NodeId, ReleaseKind

ZERO = Digest("")
"""The zero vector, which has no artefact."""


@dataclass(frozen=True)
class HeldRelease:
    """One installed release of a chain: its statement, its envelope, its adapter."""

    scope: str
    version: int
    release: Digest
    envelope: Digest
    adapter: Digest


@dataclass(frozen=True)
class Published:
    """A release of this node's own: what made it, and how the adapter moved (its digest)."""

    held: HeldRelease
    kind: ReleaseKind
    moved: Digest
    moment: int


@dataclass(frozen=True)
class Install:
    """A change of the chain above, until it is undone.

    ``brought`` has for each scope above the versions (after, until] that came in; ``effect`` is
    the digest of how the effective model of a node with an adapter changed.
    """

    brought: Mapping[str, tuple[int, int]]
    effect: Digest
    moment: int


@dataclass(frozen=True)
class Counted:
    """An offer δ of this node's that its parent counted.

    It holds the digest of δ, the parent's version that counted it, and whose contributions δ held.
    """

    update: Digest
    version: int
    delta: Digest
    contributions: tuple[tuple[int, NodeId], ...]


@dataclass(frozen=True)
class Sent:
    """A sent update: the copy ``s`` of the node's adapter, and the node's version at that time."""

    copy: Digest
    version: int
    round: int


@dataclass(frozen=True)
class Seated:
    """An accepted update that waits in the open round."""

    update: Digest
    payload: Digest
    payload_format: str
    mask_rank: int
    scale: float
    samples: int
    cumulative: bool


@dataclass(frozen=True)
class UpdateFate:
    """What became of a child's update, as far as its parent has decided.

    ``round`` is the one in which it had its seat, ``version`` that of the release whose verdicts
    name it, 0 while none does.
    """

    child: NodeId
    round: int
    fate: Fate
    code: str = ""
    version: int = 0
    share: float = 0.0


@dataclass(frozen=True)
class Awaited:
    """An update of this node's own for which it has no receipt; ``deadline_ms``: of its task."""

    round: int
    deadline_ms: int
    sent_ms: int


@dataclass(frozen=True, kw_only=True)
class KeptReceipt:
    """The parent's receipt for an update of this node's own.

    Attributes:
        receipt, release: the digests of the stored envelopes; ``release`` is ``ZERO`` without one.
        contradicts: what the parent signed contradicts itself; it is kept as evidence.
        evidence: of a receipt and a release that contradict this one.
    """

    receipt: Digest
    release: Digest
    fate: Fate
    code: str
    round: int
    version: int
    contradicts: bool
    at_ms: int
    evidence: tuple[Digest, Digest] | None = None


@dataclass(frozen=True)
class StandIn:
    """A child's last accepted update, and in how many rounds it has stood in for the child."""

    seat: Seated
    version: int
    stood: int = 0


@dataclass(frozen=True)
class DurableRound:
    """The open round, as far as it is durable."""

    round: int
    deadline_ms: int
    seated: dict[NodeId, Seated] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Undone:
    """The part of the node's past that a new chain takes back.

    It holds positions in the node's installs and its counted offers.
    """

    installs: tuple[int, ...]
    offers: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class ShiftMeasured:
    """The relation of fresh text to old text: see ``aggregation.replay.shift``."""

    kind: str
    statistic: float | None
    p: float | None
    nearest: str


@dataclass(frozen=True, kw_only=True)
class TrainingMeasured:
    """The inputs and the course of one training run: counts and measures, no text.

    Attributes:
        first_loss, last_loss: nats per token.
        replayed, old: documents of each earlier source that the run read, and that there were.
        fresh: documents that were new. ``share``, ``length``: how much of the run was old text.
        arrived: what came in by the watched folder.
        step: how much of what was learned a personal device keeps.
    """

    first_loss: float
    last_loss: float
    tokens: int
    seconds: float
    replayed: Mapping[str, int]
    fresh: int
    old: Mapping[str, int]
    share: float
    length: float
    shift: ShiftMeasured | None = None
    arrived: Mapping[str, int] | None = None
    step: float | None = None
