"""Admission: check a child's answer before its parent counts it, cheap checks first.

The order is DESIGN section 5: size → decode → type → member, key → signature → parse → bindings →
time → replay → payload length → digest → tensors → finite, norm → quota. The signature is verified
before anything signed is read; the same buffer is then parsed.

Nothing is written here. If a refusal carries ``claims``, it came after the check for replays: the
caller records, in the same durable step as the verdict, that the task has been answered.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from protocol.certificates import check_validity
from protocol.codec import EncodedDelta, encoded_size, read_delta
from protocol.envelope import Envelope
from protocol.errors import Code, Refused
from protocol.identity import PublicKey
from protocol.ids import Digest, NodeId, Scope, digest_of
from protocol.limits import LIMITS, Limits
from protocol.statements import Abstention, Certificate, Network, Task, Update

Answer = TypeVar("Answer", Update, Abstention)


class Members(Protocol):
    """Who belongs to this parent: what was folded from its ledger, with the certificates."""

    def certificate_of(self, node: NodeId) -> Certificate | None:
        """The certificate of an enrolled node, whatever became of it; None of any other."""

    def is_revoked(self, node: NodeId) -> bool:
        """Whether the node is revoked now."""

    def is_suspended(self, node: NodeId) -> bool:
        """Whether the node is suspended now."""


class Tasks(Protocol):
    """The open tasks of this parent: those it still accepts answers to."""

    def issued(self, task: str) -> Task | None:
        """The task of that name, or None."""


class Claims(Protocol):
    """The tasks that were answered. Durable, unique on node, round and task."""

    def taken(self, node: NodeId, round: int, task: str) -> bool:
        """Whether ``node`` has answered this task of this round."""


@dataclass(frozen=True)
class Admitted:
    """An update that passed every check.

    ``delta`` is what was sent, (d_r,), checked but not decoded: a parent may hold hundreds. Neither
    ``scale`` nor ``weight`` has been applied to it. ``staleness`` is τ, in versions. ``weight`` is
    the certificate's quota, from 0 to 1.
    """

    update: Update
    digest: Digest
    delta: EncodedDelta
    staleness: int
    weight: float

    @property
    def values(self) -> NDArray[np.float32]:
        """The delta, decoded: (d_r,) float32."""
        return self.delta.decode()

    @property
    def scale(self) -> float:
        """What staleness multiplies the vector by: (1 + τ)^-½ (DESIGN section 4)."""
        return float((1 + self.staleness) ** -0.5)


@dataclass(frozen=True, kw_only=True)
class Admission:
    """The rules of one parent.

    Args:
        layout_size: from the rank r of a child to d_r, the number of values in its delta.
        members: who belongs, as ``protocol.Membership`` has it.
    """

    network: Network
    parent: NodeId
    scope: Scope
    layout_size: Callable[[int], int]
    members: Members
    tasks: Tasks
    claims: Claims
    limits: Limits = LIMITS

    def admit(
        self,
        envelope: bytes,
        payload: bytes,
        *,
        sender: NodeId | None,
        version: int,
        age: Callable[[int], int],
        now_ms: int,
        task: str | None = None,
    ) -> Admitted:
        """Check an update and its payload.

        Args:
            sender: who the transport says it is; None where it does not say. Then the signature's
                key id selects the member, which works until that member rotates its key.
            task: which task the transport says it answers; None where it does not say.
            version: the version of the parent's adapter now.
            age: from the version an update started from to its staleness τ, in versions.

        Raises ``Refused`` with the code of the first check that failed.
        """
        if len(payload) > self.limits.payload_bytes:
            raise Refused(
                Code.PAYLOAD_TOO_LARGE,
                f"The payload has {len(payload)} bytes, "
                f"expected at most {self.limits.payload_bytes}.",
            )
        update, digest, member = self._verified(envelope, Update, sender, now_ms)
        self._check_model(update, member, self._check_bindings(update))
        staleness = self._staleness_of(update, version, age)
        self._check_time(update.issued_ms, now_ms)
        self._check_expiry(update, now_ms)
        self._check_claim(update, task)
        try:
            delta = self._read_payload(update, payload)
        except Refused as refused:
            raise Refused(refused.code, refused.sentence, claims=True) from None
        return Admitted(update, digest, delta, staleness, member.quota)

    def admit_abstention(
        self, envelope: bytes, *, sender: NodeId | None, now_ms: int, task: str | None = None
    ) -> Abstention:
        """Check an abstention: the same checks in the same order, without those of a model.

        Raises ``Refused`` with the code of the first check that failed.
        """
        abstention, _, _ = self._verified(envelope, Abstention, sender, now_ms)
        self._check_bindings(abstention)
        self._check_time(abstention.issued_ms, now_ms)
        self._check_claim(abstention, task)
        return abstention

    # -- who signed it

    def _verified(
        self, envelope: bytes, kind: type[Answer], sender: NodeId | None, now_ms: int
    ) -> tuple[Answer, Digest, Certificate]:
        sealed = Envelope.decode(envelope, self.limits, at_most=self.limits.answer_bytes)
        sealed.expect(kind)
        if len(sealed.signatures) != 1:
            raise Refused(
                Code.MALFORMED,
                f"An answer has one signature, this one has {len(sealed.signatures)}.",
            )
        keyid = sealed.signatures[0].keyid
        member = self._member(NodeId(keyid) if sender is None else sender, now_ms)
        key = PublicKey.from_raw(member.public_key)
        if keyid != key.keyid:
            self._refuse_key(NodeId(keyid), member)
        sealed.verify(key)
        answer = kind.from_bytes(sealed.payload)
        _same(answer.node, member.node, Code.WRONG_NODE, "node")
        if isinstance(answer, Update):
            _same(answer.key_epoch, member.key_epoch, Code.WRONG_KEY_EPOCH, "key epoch")
        return answer, sealed.digest, member

    def _member(self, node: NodeId, now_ms: int) -> Certificate:
        member = self.members.certificate_of(node)
        if member is None:
            raise Refused(Code.NOT_A_MEMBER, f"Node {node[:12]}… is not enrolled at {self.scope}.")
        if self.members.is_revoked(node):
            raise Refused(
                Code.REVOKED, f"{member.name} was revoked; its parent takes no answers from it."
            )
        if self.members.is_suspended(node):
            raise Refused(
                Code.SUSPENDED,
                f"{member.name} is suspended; its parent takes no answers from it until it is "
                "resumed.",
            )
        check_validity(member, now_ms, self.limits)
        return member

    def _refuse_key(self, named: NodeId, member: Certificate) -> None:
        """Say why the key that signed is not the member's. A first key's id is its node's id."""
        if named == member.node:
            raise Refused(
                Code.WRONG_KEY_EPOCH,
                f"{member.name} signed with a key that it has replaced; "
                f"it is at key epoch {member.key_epoch}.",
            )
        if other := self.members.certificate_of(named):
            raise Refused(
                Code.WRONG_SENDER, f"{member.name} sent an answer that {other.name} signed."
            )
        raise Refused(
            Code.UNKNOWN_KEY,
            f"{member.name} sent an answer signed by key {named[:12]}…, which no member has.",
        )

    # -- what it is bound to

    def _check_bindings(self, answer: Update | Abstention) -> Task:
        _same(answer.network, self.network.network, Code.WRONG_NETWORK, "network")
        _same(answer.parent, self.parent, Code.WRONG_PARENT, "parent")
        _same(answer.scope, self.scope, Code.WRONG_SCOPE, "scope")
        task = self.tasks.issued(answer.task)
        if task is None:
            raise Refused(
                Code.UNKNOWN_TASK,
                f"Task {answer.task} is not open: it was never issued, or its round is over.",
            )
        _same(answer.node, task.child, Code.WRONG_TASK, "child of this task")
        _same(answer.round, task.round, Code.WRONG_TASK, "round of this task")
        _same(answer.attempt, task.attempt, Code.WRONG_TASK, "attempt at this task")
        if not hmac.compare_digest(answer.nonce, task.nonce):
            raise Refused(Code.WRONG_NONCE, f"The nonce is not the one of task {answer.task}.")
        return task

    def _check_model(self, update: Update, member: Certificate, task: Task) -> None:
        network = self.network
        _same(update.base, network.base, Code.WRONG_BASE, "base")
        _same(update.basis, network.basis, Code.WRONG_BASIS, "basis")
        _same(update.tokenizer, network.tokenizer, Code.WRONG_TOKENIZER, "tokenizer")
        _same(update.layout, network.layout, Code.WRONG_LAYOUT, "layout")
        _same(update.mask_rank, member.mask_rank, Code.WRONG_MASK, "rank of this member")
        _same(update.mask_rank, task.mask_rank, Code.WRONG_MASK, "rank of this task")
        _same(update.payload_format, task.payload_format, Code.WRONG_FORMAT, "payload format")

    def _staleness_of(self, update: Update, version: int, age: Callable[[int], int]) -> int:
        if update.version > version:
            raise Refused(
                Code.FUTURE_VERSION,
                f"The update started from version {update.version}; the newest is {version}.",
            )
        staleness, most = age(update.version), self.limits.max_staleness
        if staleness > most:
            raise Refused(
                Code.STALE,
                f"The update started {staleness} versions ago, expected at most {most}; "
                "start again from the newest release.",
            )
        return staleness

    # -- when it was signed, and whether it was answered before

    def _check_time(self, issued_ms: int, now_ms: int) -> None:
        if issued_ms > now_ms + self.limits.clock_skew_s * 1000:
            raise Refused(
                Code.CLOCK_SKEW,
                f"The answer was signed {(issued_ms - now_ms) / 1000:.0f} s in the future; "
                "check both clocks.",
            )

    def _check_expiry(self, update: Update, now_ms: int) -> None:
        if now_ms > update.expires_ms + self.limits.clock_skew_s * 1000:
            late = (now_ms - update.expires_ms) / 1000
            raise Refused(Code.EXPIRED, f"The update expired {late:.0f} s ago.")
        lifetime = update.expires_ms - update.issued_ms
        if lifetime > self.limits.update_lifetime_s * 1000:
            raise Refused(
                Code.LIFETIME_TOO_LONG,
                f"The update is for {lifetime / 1000:.0f} s, "
                f"expected at most {self.limits.update_lifetime_s}.",
            )

    def _check_claim(self, answer: Update | Abstention, named: str | None) -> None:
        if self.claims.taken(answer.node, answer.round, answer.task):
            raise Refused(Code.REPLAYED, f"Task {answer.task} was answered before.")
        if named is not None:  # after that: an old answer sent again is called what it is
            _same(answer.task, named, Code.WRONG_TASK, "task")

    # -- what it carries

    def _read_payload(self, update: Update, payload: bytes) -> EncodedDelta:
        if len(payload) != update.length:
            raise Refused(
                Code.WRONG_LENGTH,
                f"The payload has {len(payload)} bytes, the update declares {update.length}.",
            )
        size, form = self.layout_size(update.mask_rank), update.payload_format
        most = encoded_size(size, form) + self.limits.tensor_header_bytes
        if len(payload) > most:
            raise Refused(
                Code.PAYLOAD_TOO_LARGE,
                f"The payload has {len(payload)} bytes; {size} values as {form} and the largest "
                f"header take {most}.",
            )
        if digest_of(payload) != update.payload:
            raise Refused(Code.WRONG_DIGEST, "The payload is not the one that was signed.")
        delta = read_delta(payload, size, form, self.limits)
        norm = delta.norm()
        if norm > self.limits.max_update_norm:
            raise Refused(
                Code.NORM_TOO_LARGE,
                f"The norm of the update is {norm:.4g}, "
                f"expected at most {self.limits.max_update_norm:g}.",
            )
        return delta


def _same(got: object, expected: object, code: Code, what: str) -> None:
    if got != expected:
        raise Refused(code, f"The answer names {what} {got}, expected {expected}.")
