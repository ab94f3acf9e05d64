"""The statements that peers exchange beside rounds: who is in a circle, how a node is, receipts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from protocol import banyan_pb2
from protocol.limits import LIMITS
from protocol.statements.base import Nested, Part, Statement, payload_type
from protocol.statements.kinds import (
    Choice,
    Count,
    DigestField,
    DigestOrNone,
    Flagged,
    Label,
    Many,
    Milliseconds,
    NodeField,
    Ordinal,
    Raw,
    Reason,
    ReasonOrNone,
    ScopeField,
    Share,
    SmallOrdinal,
    Text,
    Whole,
)
from protocol.statements.network import Role

_ADDRESS = Text(r"[A-Za-z0-9._:\[\]-]{3,261}")
_Port = Annotated[int, Whole(0, 65535)]
_Line = Annotated[str, Text(r".{0,256}")]


@dataclass(frozen=True, kw_only=True, slots=True)
class CircleMember(Part):
    """A child of a circle's parent, for its siblings.

    ``transport`` names its transport key. ``addresses`` is where its parent could dial it, each
    ``host:port``; a member without any takes and does not give. ``swarm_port`` 0: not in a swarm.
    """

    MESSAGE = banyan_pb2.CircleMember

    node: NodeField
    name: Label
    role: Annotated[Role, Choice(Role, "Role")]
    transport: DigestField
    addresses: Annotated[tuple[str, ...], Many(_ADDRESS, 0, 8, distinct=True)]
    swarm_port: _Port


@dataclass(frozen=True, kw_only=True, slots=True)
class Circle(Statement):
    """The present members of a circle, a parent and its children, signed by the parent.

    ``manifest`` is the digest of the list of the base's files, empty where the parent has none;
    ``swarm_port`` is where the parent itself takes part in the circle's swarm, 0 if it does not.
    """

    PAYLOAD_TYPE = payload_type("circle")
    MESSAGE = banyan_pb2.Circle

    network: DigestField
    node: NodeField
    sequence: Ordinal
    members: Annotated[
        tuple[CircleMember, ...], Many(Nested(CircleMember), 0, LIMITS.max_circle, distinct=True)
    ]
    manifest: DigestOrNone
    issued_ms: Milliseconds
    expires_ms: Milliseconds
    swarm_port: _Port


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal(Statement):
    """A member asks for new certificates; signed with its current key, at ``key_epoch``."""

    PAYLOAD_TYPE = payload_type("renewal")
    MESSAGE = banyan_pb2.Renewal

    network: DigestField
    node: NodeField
    key_epoch: SmallOrdinal
    issued_ms: Milliseconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally(Part):
    """How often something with a stable code was the case."""

    MESSAGE = banyan_pb2.Tally

    code: Reason
    count: Count


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildState(Part):
    """How a parent sees one of its children.

    ``state`` is ``active``, ``abstaining``, ``refused``, ``quarantined``, ``suspended``, ``lapsed``
    or ``revoked``, ``reason`` the code behind it, ``since_ms`` when it began, ``seen_ms`` when the
    child was last heard, 0 if it never was.
    """

    MESSAGE = banyan_pb2.ChildState

    node: NodeField
    name: Label
    state: Reason
    reason: ReasonOrNone
    since_ms: Milliseconds
    seen_ms: Milliseconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Status(Statement):
    """How a node is, signed by itself.

    ``version`` is of its newest release, ``chain`` the digest of the snapshot that it follows,
    ``ledger`` and ``events`` the head of its ledger and its length, ``outcome`` that of the last
    round that ended without a release. ``members``, ``refused`` and ``troubles`` count its members
    by state, refusals by code since it was made, and what does not work now by code. Disk sizes are
    bytes. ``way`` is the address by which it reaches its parent. A ``confined`` status stays with
    the parent; ``hidden`` says how many of those stand below this node. ``nonce`` is the asker's,
    empty in a report.
    """

    PAYLOAD_TYPE = payload_type("status")
    MESSAGE = banyan_pb2.Status

    network: DigestField
    node: NodeField
    scope: ScopeField
    role: Annotated[Role, Choice(Role, "Role")]
    name: Label
    issued_ms: Milliseconds
    started_ms: Milliseconds
    software: _Line
    version: Count
    chain: DigestOrNone
    ledger: DigestOrNone
    events: Count
    round: Count
    round_open: Flagged
    outcome: ReasonOrNone
    children: Annotated[
        tuple[ChildState, ...], Many(Nested(ChildState), 0, LIMITS.max_circle, distinct=True)
    ]
    members: Annotated[tuple[Tally, ...], Many(Nested(Tally), 0, 16)]
    refused: Annotated[tuple[Tally, ...], Many(Nested(Tally), 0, 64)]
    troubles: Annotated[tuple[Tally, ...], Many(Nested(Tally), 0, 64)]
    disk_free: Count
    disk_used: Count
    membership_until_ms: Milliseconds
    link_until_ms: Milliseconds
    way: _Line
    confined: Flagged
    hidden: Count
    nonce: Annotated[bytes, Raw(0, 32)]


class Fate(StrEnum):
    """What became of an update.

    ``waiting``: admitted, and its round is open. ``left-out``: admitted, and no release came of its
    round. ``withdrawn``: counted once, and taken out again.
    """

    WAITING = "waiting"
    COUNTED = "counted"
    OUTVOTED = "outvoted"
    REFUSED = "refused"
    LEFT_OUT = "left-out"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt(Statement):
    """What became of a child's update, signed by the parent.

    ``release`` and ``version`` are of the release whose verdicts name the update; empty and 0 where
    none does. ``code`` says why it does not count, ``share`` is its part of the aggregate.
    """

    PAYLOAD_TYPE = payload_type("receipt")
    MESSAGE = banyan_pb2.Receipt

    network: DigestField
    node: NodeField
    child: NodeField
    update: DigestField
    fate: Annotated[Fate, Choice(Fate, "Fate")]
    code: ReasonOrNone
    round: Count
    version: Count
    release: DigestOrNone
    share: Share
    issued_ms: Milliseconds

    def _contradiction(self) -> str:
        if (self.version == 0) != (self.release == ""):
            return "a release has a version, and a version a release"
        return ""
