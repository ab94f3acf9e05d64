"""The events that a round machine takes and the actions that it returns.

Events and actions of ``nodes.parent.round_machine``; they are all that goes in and out of it.
Times are integers in milliseconds on whatever clock the driver uses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from protocol import Digest, NodeId


class Outcome(StrEnum):
    """The end of a collection: with updates to aggregate, or without."""

    AGGREGATE = "aggregate"
    VOID = "void"


# Events ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tick:
    """Time has passed."""

    now_ms: int


@dataclass(frozen=True)
class UpdateReceived:
    """An update that passed admission. ``started`` is the parent version it started from."""

    child: NodeId
    update: Digest
    round: int
    started: int
    now_ms: int


@dataclass(frozen=True)
class AnswerRefused:
    """An answer in this child's name was refused at admission.

    The child is asked again, a few times: a thief of its transport key must not be able to silence
    it by answering rubbish in its place.
    """

    child: NodeId
    round: int
    now_ms: int


@dataclass(frozen=True)
class AbstentionReceived:
    """A child has nothing to send.

    ``retry_in_ms``: ask again in this round after that time, or None when asking again in this
    round is of no use. ``resting``: nothing is new since its last update was judged; it would
    answer if it was insisted on.
    """

    child: NodeId
    round: int
    retry_in_ms: int | None
    now_ms: int
    resting: bool = False


@dataclass(frozen=True)
class Woken:
    """There may be something to collect, or to hand down: a pause is over.

    ``child`` says that it has something, if anybody said so.
    """

    child: NodeId | None
    now_ms: int


@dataclass(frozen=True)
class MembersChanged:
    """The enrolled children, as they are from now on."""

    members: tuple[NodeId, ...]
    now_ms: int


@dataclass(frozen=True)
class RoundDone:
    """The driver has dealt with a closed round. ``counted`` maps children to the version that
    counted them (empty when nothing was released)."""

    counted: Mapping[NodeId, int]
    now_ms: int


RoundEvent = (
    Tick | UpdateReceived | AnswerRefused | AbstentionReceived | Woken | MembersChanged | RoundDone
)


# Actions -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenRound:
    """Record durably that a round is open."""

    round: int
    deadline_ms: int
    members: tuple[NodeId, ...]


@dataclass(frozen=True)
class Ask:
    """Send a task to a child. ``insists``: it is to answer even if nothing is new to it."""

    child: NodeId
    round: int
    attempt: int
    deadline_ms: int
    insists: bool = False


@dataclass(frozen=True)
class Seat:
    """Take this update into the round that is open (``late`` when it answered an earlier one)."""

    child: NodeId
    update: Digest
    round: int
    late: bool


@dataclass(frozen=True)
class Supersede:
    """Refuse this update: ``reason`` is ``superseded`` or ``already-answered``."""

    child: NodeId
    update: Digest
    reason: str


@dataclass(frozen=True)
class CloseRound:
    """The collection is over. Nothing more happens until ``RoundDone`` comes back.

    ``absent`` are the children of whom nothing was heard; children that abstained are not among
    them.
    """

    round: int
    outcome: Outcome
    updates: Mapping[NodeId, Digest]
    absent: tuple[NodeId, ...] = ()


RoundAction = OpenRound | Ask | Seat | Supersede | CloseRound
