"""Verify a status that a child hands in: who signed it, by whose certificate, and whether it fits.

A certificate is verified once, and known by its digest from then on. What is refused is named with
the way on which it came: the child, and those between it and the signer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nodes.errors import NodeError
from nodes.peers.statuses.rows import Row, StatusFile
from nodes.state.node import Node
from nodes.trust.standing import standing_of
from protocol import (
    LIMITS,
    Certificate,
    Code,
    Envelope,
    NodeId,
    PublicKey,
    Refused,
    Status,
    check_certificate,
    check_validity,
    digest_of,
    open_envelope,
)
from protocol.peer_pb2 import Signed

MAX_STATUS_BYTES = 256 * 1024
"""The most bytes of one status."""
MAX_CERTIFICATE_BYTES = LIMITS.answer_bytes

UNKNOWN_PARENT = "unknown-parent"
"""The parent of whoever signed a status is not known here yet: handed in again it may be taken."""
CONFINED = "confined"

_REMEMBERED = 32_768
_DEEPEST = LIMITS.max_chain
V = TypeVar("V")


class StatusRefused(NodeError):
    """A status that is not taken; ``node`` is the one of which it is said to be, empty where that
    cannot be read."""

    def __init__(self, code: str, sentence: str, node: str = "") -> None:
        super().__init__(code, sentence)
        self.node = node


@dataclass(frozen=True)
class Origin:
    """The child that hands statuses in, with its certificate of now and that one's envelope."""

    certificate: Certificate
    envelope: bytes

    @property
    def node(self) -> NodeId:
        """Its id."""
        return self.certificate.node

    @property
    def name(self) -> str:
        """What its parent calls it."""
        return self.certificate.name


@dataclass(frozen=True)
class Claim:
    """Where a status is said to come from. Nothing of it is verified but that it can be read.

    Attributes:
        between: the certificates from below the child down to the signer's parent, verified.
    """

    origin: Origin
    certificate: Certificate
    between: tuple[Certificate, ...] = ()

    @property
    def node(self) -> NodeId:
        """Who is said to have signed it."""
        return self.certificate.node

    @property
    def is_own(self) -> bool:
        """Whether it is said to be the child's own."""
        return self.certificate is self.origin.certificate

    @property
    def parent(self) -> Certificate:
        """The certificate of the signer's parent."""
        return self.between[-1] if self.between else self.origin.certificate

    def refused(self, code: str, problem: str) -> StatusRefused:
        """Make the refusal; ``problem`` follows "a status that"."""
        who = self.origin.name
        if self.is_own:
            said = f"{who} handed in a status of its own that {problem}."
        else:
            way = " and ".join(c.name for c in reversed(self.between))
            passed = f", passed on by {way}" if way else ""
            said = f"{who} handed in a status of {self.certificate.name}{passed}, that {problem}."
        return StatusRefused(code, said, self.node)


@dataclass
class _Known(Generic[V]):
    """Values by key, all forgotten when there are too many."""

    values: dict[object, V] = field(default_factory=dict)

    def keep(self, key: object, value: V) -> V:
        if len(self.values) >= _REMEMBERED:
            self.values.clear()
        self.values[key] = value
        return value


class Verifier:
    """Verifies what the children of one node hand in.

    Args:
        rows: what is kept now, by child and node; its certificates are in ``file``.
    """

    def __init__(
        self, node: Node, rows: Mapping[tuple[NodeId, NodeId], Row], file: StatusFile
    ) -> None:
        self._node, self._rows, self._file = node, rows, file
        self._read = _Known[Certificate]()
        self._verified = _Known[Certificate]()
        self._kept = _Known[Certificate]()

    def origin(self, child: NodeId, now_ms: int) -> Origin:
        """Return what is known of a child that calls.

        Raises ``NodeError``: ``not-a-member``, ``revoked``, ``suspended``, ``certificate-expired``.
        """
        membership = self._node.state.membership
        member, certificate = membership.get(child), self._node.certificate_of(child)
        standing_of(membership, child, certificate, now_ms).require()
        assert member is not None and certificate is not None  # noqa: S101  it is a member
        return Origin(certificate, self._node.artefacts.get(member.certificate))

    def claim(self, origin: Origin, signed: Signed) -> Claim:
        """Read whose a status is said to be. Raises ``StatusRefused``."""
        certificate = self._unverified(origin, signed.certificate)
        if certificate is None or certificate.node == origin.node:
            return Claim(origin, origin.certificate)
        return Claim(origin, certificate, self._between(origin, certificate))

    def check_place(self, claim: Claim, signed: Signed, now_ms: int) -> bytes:
        """Verify that the signer hangs where it is said to; return its certificate's envelope.

        Raises ``StatusRefused``.
        """
        if claim.is_own:
            return claim.origin.envelope
        home = self._node.home
        above = (claim.origin.certificate, *claim.between)
        if claim.node in {c.node for c in (*home.path, *above)}:
            raise claim.refused(Code.DUPLICATE_NODE.value, "names a node that stands above itself")
        parent, key = claim.parent, digest_of(signed.certificate)
        known = (key, parent.node, parent.public_key, parent.scope, parent.role)
        try:
            if known not in self._verified.values:
                sealed = Envelope.decode(signed.certificate, at_most=MAX_CERTIFICATE_BYTES)
                opened = open_envelope(sealed, Certificate, PublicKey.from_raw(parent.public_key))
                check_certificate(opened, home.network, parent)
                self._verified.keep(known, opened)
            for certificate in (*claim.between, claim.certificate):
                check_validity(certificate, now_ms)
        except Refused as error:
            problem = f"has a certificate that does not hold: {error.sentence[:-1]}"
            if error.code is Code.BAD_SIGNATURE:
                problem = f"has a certificate that {parent.name}, its parent, did not sign"
            raise claim.refused(error.code.value, problem) from None
        return signed.certificate

    def status(self, claim: Claim, envelope: Envelope, now_ms: int) -> Status:
        """Verify the signature and what is signed. Raises ``StatusRefused``."""
        certificate = claim.certificate
        try:
            key = PublicKey.from_raw(certificate.public_key)
            status = open_envelope(envelope, Status, key)
        except Refused as error:
            problem = f"cannot be read: {error.sentence[:-1]}"
            if error.code is Code.BAD_SIGNATURE:
                problem = "is not as its node signed it: it was changed or made up on its way"
            raise claim.refused(error.code.value, problem) from None
        said = (status.network, status.node, status.scope, status.role, status.name)
        expected = (
            *(certificate.network, certificate.node, certificate.scope),
            *(certificate.role, certificate.name),
        )
        codes = (
            *(Code.WRONG_NETWORK, Code.WRONG_NODE, Code.WRONG_SCOPE),
            *(Code.WRONG_ROLE, Code.WRONG_NODE),
        )
        for one, other, code in zip(said, expected, codes, strict=True):
            if one != other:
                problem = f"says {one} where its certificate says {other}"
                raise claim.refused(code.value, problem)
        if status.nonce:
            raise claim.refused(Code.WRONG_NONCE.value, "is the answer to a question, no report")
        if status.issued_ms > now_ms + LIMITS.clock_skew_s * 1000:
            ahead = (status.issued_ms - now_ms) // 1000
            raise claim.refused(Code.CLOCK_SKEW.value, f"is dated {ahead} s ahead of this clock")
        if status.confined and not claim.is_own:
            raise claim.refused(CONFINED, "says that it stays with its parent")
        return status

    # -- inside

    def _unverified(self, origin: Origin, data: bytes) -> Certificate | None:
        """Read a certificate as far as it says whose it is; None where there is none."""
        if not data:
            return None
        digest = digest_of(data)
        known = self._read.values.get(digest)
        if known is not None:
            return known
        try:
            envelope = Envelope.decode(data, at_most=MAX_CERTIFICATE_BYTES)
            envelope.expect(Certificate)
            return self._read.keep(digest, Certificate.from_bytes(envelope.payload))
        except Refused as error:
            raise StatusRefused(
                error.code.value,
                f"{origin.name} handed in a status with a certificate that cannot be read: "
                f"{error.sentence}",
            ) from None

    def _between(self, origin: Origin, certificate: Certificate) -> tuple[Certificate, ...]:
        """Find the certificates between a child and a node below it, the upper ones first."""
        between: list[Certificate] = []
        parent = certificate.parent
        while parent != origin.node:
            found = self._certificate(origin, parent)
            if found is None or len(between) > _DEEPEST:
                raise self._misplaced(origin, certificate, parent)
            between.insert(0, found)
            parent = found.parent
        return tuple(between)

    def _misplaced(
        self, origin: Origin, certificate: Certificate, missing: NodeId
    ) -> StatusRefused:
        """Say that the path from a status's signer does not lead to the child that handed it in."""
        elsewhere = next((via for via, node in self._rows if node == missing), None)
        if elsewhere is None and missing not in {self._node.home.id, *self._members()}:
            return Claim(origin, certificate).refused(
                UNKNOWN_PARENT, f"names a parent, {missing[:12]}…, that is not known here"
            )
        return Claim(origin, certificate).refused(
            Code.WRONG_PARENT.value, f"does not come from below {origin.name}"
        )

    def _members(self) -> tuple[NodeId, ...]:
        return tuple(member.node for member in self._node.state.membership.members)

    def _certificate(self, origin: Origin, node: NodeId) -> Certificate | None:
        """Return the certificate under which a kept status was verified."""
        row = self._rows.get((origin.node, node))
        if row is None:
            return None
        key = (row.via, row.node, row.seq)
        known = self._kept.values.get(key)
        if known is None:
            signed = self._file.signed(row)
            if signed is None:
                return None
            known = self._unverified(origin, signed.certificate)
            if known is not None:
                self._kept.keep(key, known)
        return known
