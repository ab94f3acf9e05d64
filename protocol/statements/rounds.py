"""The statements of a round: a parent's task, a child's update or abstention."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from protocol import banyan_pb2
from protocol.limits import LIMITS
from protocol.statements.base import Statement, payload_type
from protocol.statements.kinds import (
    Choice,
    Count,
    DigestField,
    Flagged,
    Hex,
    Length,
    Many,
    Milliseconds,
    NodeField,
    NonceField,
    Ordinal,
    Rank,
    Reason,
    ScopeField,
    SmallOrdinal,
    TaskName,
)


class PayloadFormat(StrEnum):
    """How a delta travels: see ``protocol.codec``."""

    INT8 = "int8"
    FLOAT32 = "float32"


_Format = Annotated[PayloadFormat, Choice(PayloadFormat, "PayloadFormat")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task(Statement):
    """A parent asks one child for an update, signed by the parent.

    ``scope`` is the parent's; ``version`` the version of its adapter, ``snapshot`` the digest of
    the snapshot to start from. ``nonce`` is new for every round and child. ``judged`` is the last
    round whose update of this child the parent judged: if nothing is new since then, the child may
    abstain; 0 if the parent wants an answer in any case.
    """

    PAYLOAD_TYPE = payload_type("task")
    MESSAGE = banyan_pb2.Task

    network: DigestField
    parent: NodeField
    child: NodeField
    scope: ScopeField
    round: Ordinal
    task: TaskName
    attempt: SmallOrdinal
    nonce: NonceField
    issued_ms: Milliseconds
    deadline_ms: Milliseconds
    snapshot: DigestField
    version: Count
    base: DigestField
    basis: DigestField
    tokenizer: DigestField
    layout: DigestField
    mask_rank: Rank
    payload_format: _Format
    judged: Count = 0

    def _contradiction(self) -> str:
        if self.deadline_ms - self.issued_ms > LIMITS.task_lifetime_s * 1000:
            return f"deadline_ms is more than {LIMITS.task_lifetime_s} s after issued_ms"
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Update(Statement):
    """A child's answer: the description of a delta, signed by the child.

    ``version`` is the parent's version that the delta started from. ``payload`` and ``length`` are
    the digest and the size in bytes of the encoded delta, which travels beside the envelope.
    ``samples`` and ``contributors`` are the child's own claims; nothing is weighted by them.
    ``cumulative`` says that the delta is all the child has gathered since its baseline, and so
    must be counted once; otherwise it was learned from the parent's version alone.
    """

    PAYLOAD_TYPE = payload_type("update")
    MESSAGE = banyan_pb2.Update

    network: DigestField
    node: NodeField
    parent: NodeField
    scope: ScopeField
    round: Ordinal
    task: TaskName
    attempt: SmallOrdinal
    nonce: NonceField
    base: DigestField
    basis: DigestField
    tokenizer: DigestField
    layout: DigestField
    mask_rank: Rank
    version: Count
    payload: DigestField
    length: Length
    payload_format: _Format
    samples: Count
    contributors: Count
    issued_ms: Milliseconds
    expires_ms: Milliseconds
    key_epoch: SmallOrdinal
    cumulative: Flagged

    def _contradiction(self) -> str:
        if self.expires_ms < self.issued_ms:
            return "expires_ms is before issued_ms"
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Abstention(Statement):
    """A child's answer that it has no update, and why, signed by the child.

    ``retry`` asks to be asked again in this round; ``missing`` lists the digests of what the child
    lacks to start.
    """

    PAYLOAD_TYPE = payload_type("abstention")
    MESSAGE = banyan_pb2.Abstention

    network: DigestField
    node: NodeField
    parent: NodeField
    scope: ScopeField
    round: Ordinal
    task: TaskName
    attempt: SmallOrdinal
    nonce: NonceField
    reason: Reason
    retry: Flagged
    missing: Annotated[
        tuple[DigestField, ...], Many(Hex(), 0, 2 * LIMITS.max_chain + 1, distinct=True)
    ]
    issued_ms: Milliseconds
