"""A small network for tests: a root, an interior node, two of its devices, and one open task.

Everything is real and in memory: keys, certificates, envelopes, admission.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol import (
    Abstention,
    Admission,
    Admitted,
    Certificate,
    Code,
    Digest,
    Envelope,
    Member,
    Membership,
    Network,
    NodeId,
    PayloadFormat,
    Refused,
    Role,
    Scope,
    SigningKey,
    Task,
    Update,
    digest_of,
    encode_delta,
    seal,
)

NOW = 1_800_000_000_000
HOUR = 3_600_000
RANK = 4
SCOPE = Scope("/en")
VERSION = 9


def known_key(number: int) -> SigningKey:
    """A key that is the same in every run, so that the names of tests are."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


ROOT_KEY, PARENT_KEY, ALICE_KEY, BOB_KEY, STRANGER_KEY = map(known_key, range(1, 6))


def node_of(key: SigningKey) -> NodeId:
    return NodeId(key.public.keyid)


def named(text: str) -> Digest:
    return digest_of(text.encode())


def size_at(rank: int) -> int:
    """The layout of this network: 75 values for every row of the basis."""
    return 75 * rank


def refused(code: Code) -> AbstractContextManager[pytest.ExceptionInfo[Refused]]:
    """Expect a refusal with exactly this code, and a sentence for a person."""

    def is_it(error: Refused) -> bool:
        return error.code is code and error.sentence.endswith(".") and len(error.sentence) < 500

    return pytest.raises(Refused, check=is_it)


NETWORK = Network(
    name="test",
    network=named("network"),
    base=named("base"),
    tokenizer=named("tokenizer"),
    basis=named("basis"),
    layout=named("layout"),
    rank=RANK,
    targets=("q_proj", "v_proj"),
    root=node_of(ROOT_KEY),
    root_key=ROOT_KEY.public.raw,
    created_ms=NOW - HOUR,
)


def certificate(
    key: SigningKey, role: Role, scope: Scope, parent: SigningKey, above: Scope, **changes: Any
) -> Certificate:
    values: dict[str, Any] = {
        "network": NETWORK.network,
        "node": node_of(key),
        "public_key": key.public.raw,
        "key_epoch": 1,
        "scope": scope,
        "role": role,
        "parent": node_of(parent),
        "parent_scope": above,
        "mask_rank": RANK,
        "quota": 1.0,
        "transport_key": b"transport key of " + key.public.keyid[:12].encode(),
        "valid_from_ms": NOW - HOUR,
        "valid_until_ms": NOW + HOUR,
        "name": "someone",
    }
    return Certificate(**values | changes)


ROOT = certificate(ROOT_KEY, Role.ROOT, Scope(), ROOT_KEY, Scope(), name="root")
PARENT = certificate(PARENT_KEY, Role.INTERIOR, SCOPE, ROOT_KEY, Scope(), name="english")
ALICE = certificate(ALICE_KEY, Role.DEVICE, SCOPE, PARENT_KEY, SCOPE, name="alice")
BOB = certificate(BOB_KEY, Role.DEVICE, SCOPE, PARENT_KEY, SCOPE, name="bob")

TASK = Task(
    network=NETWORK.network,
    parent=PARENT.node,
    child=ALICE.node,
    scope=SCOPE,
    round=7,
    task="7-1-alice",
    attempt=1,
    nonce=bytes(range(32)),
    issued_ms=NOW - 60_000,
    deadline_ms=NOW + 60_000,
    snapshot=named("snapshot"),
    version=VERSION,
    base=NETWORK.base,
    basis=NETWORK.basis,
    tokenizer=NETWORK.tokenizer,
    layout=NETWORK.layout,
    mask_rank=RANK,
    payload_format=PayloadFormat.INT8,
)

DELTA = np.random.default_rng(1).normal(scale=0.01, size=size_at(RANK)).astype(np.float32)
PAYLOAD = encode_delta(DELTA, PayloadFormat.INT8)

UPDATE = Update(
    network=TASK.network,
    node=ALICE.node,
    parent=TASK.parent,
    scope=TASK.scope,
    round=TASK.round,
    task=TASK.task,
    attempt=TASK.attempt,
    nonce=TASK.nonce,
    base=TASK.base,
    basis=TASK.basis,
    tokenizer=TASK.tokenizer,
    layout=TASK.layout,
    mask_rank=TASK.mask_rank,
    version=VERSION,
    payload=digest_of(PAYLOAD),
    length=len(PAYLOAD),
    payload_format=PayloadFormat.INT8,
    samples=120,
    contributors=1,
    cumulative=False,
    issued_ms=NOW - 1000,
    expires_ms=NOW + HOUR,
    key_epoch=1,
)

ABSTENTION = Abstention(
    network=TASK.network,
    node=ALICE.node,
    parent=TASK.parent,
    scope=TASK.scope,
    round=TASK.round,
    task=TASK.task,
    attempt=TASK.attempt,
    nonce=TASK.nonce,
    reason="no-data",
    retry=False,
    missing=(named("missing"),),
    issued_ms=NOW - 1000,
)


@dataclass
class World:
    """The interior node's side: its members, its open tasks and the claims it has recorded."""

    membership: Membership = field(default_factory=lambda: Membership((ROOT, PARENT)))
    certificates: dict[Digest, Certificate] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=lambda: {TASK.task: TASK})
    claims: set[tuple[NodeId, int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        for member in (ALICE, BOB):
            self.enrol(seal(member, PARENT_KEY))

    def enrol(self, envelope: Envelope) -> None:
        """Enrol by the rules what the parent signed, and the member's key of now if it must."""
        certificate = Certificate.from_bytes(envelope.payload)
        member = Member.of(certificate, envelope.digest)
        known = self.membership.get(member.node)
        signers = {signature.keyid for signature in envelope.signatures}
        self.membership.check(member, known is not None and known.key in signers)
        self.membership.enrol(member)
        self.certificates[envelope.digest] = certificate

    def certificate_of(self, node: NodeId) -> Certificate | None:
        member = self.membership.get(node)
        return self.certificates[member.certificate] if member else None

    def is_revoked(self, node: NodeId) -> bool:
        return self.membership.is_revoked(node)

    def is_suspended(self, node: NodeId) -> bool:
        return self.membership.is_suspended(node)

    def issued(self, task: str) -> Task | None:
        return self.tasks.get(task)

    def taken(self, node: NodeId, round: int, task: str) -> bool:
        return (node, round, task) in self.claims

    @property
    def admission(self) -> Admission:
        return Admission(
            network=NETWORK,
            parent=PARENT.node,
            scope=SCOPE,
            layout_size=size_at,
            members=self,
            tasks=self,
            claims=self,
        )

    def admit(
        self,
        update: Update | bytes = UPDATE,
        payload: bytes = PAYLOAD,
        *,
        key: SigningKey = ALICE_KEY,
        sender: NodeId | None = ALICE.node,
        version: int = VERSION,
        age: Callable[[int], int] | None = None,
        now_ms: int = NOW,
        task: str | None = None,
    ) -> Admitted:
        """Admit an update (signed with ``key`` unless it is bytes) and record its claim."""
        admitted = self.admission.admit(
            update if isinstance(update, bytes) else seal(update, key).encode(),
            payload,
            sender=sender,
            version=version,
            age=age or (lambda started: version - started),
            now_ms=now_ms,
            task=task,
        )
        said = admitted.update
        self.claims.add((said.node, said.round, said.task))
        return admitted


def carrying(payload: bytes, **changes: Any) -> Update:
    """Alice's update, with this payload."""
    return replace(UPDATE, payload=digest_of(payload), length=len(payload), **changes)
