"""The members of one parent: who was enrolled, with which key, and who was revoked."""

from __future__ import annotations

from dataclasses import dataclass, field

from protocol.certificates import check_certificate, check_validity, same_identity
from protocol.envelope import Envelope, open_envelope
from protocol.errors import Code, Refused
from protocol.identity import PublicKey
from protocol.ids import NodeId
from protocol.limits import LIMITS, Limits
from protocol.statements import Certificate, Network


@dataclass
class Membership:
    """The members of one parent: who was enrolled, with which key, and who was revoked.

    Args:
        network: the verified statement of the network.
        parent: the parent's own verified certificate.
    """

    network: Network
    parent: Certificate
    limits: Limits = LIMITS
    _members: dict[NodeId, Certificate] = field(default_factory=dict)
    _revoked: set[NodeId] = field(default_factory=set)

    def add(self, envelope: Envelope, now_ms: int) -> Certificate:
        """Take a certificate: a new member, a renewal, or a new key for a member.

        A new key has the next epoch and is signed by the parent and by the old key. Raises
        ``Refused``: what ``check_certificate`` and ``check_validity`` are refused for, ``revoked``,
        ``duplicate-node``, ``wrong-key-epoch``, ``bad-signature``.
        """
        certificate = open_envelope(
            envelope, Certificate, PublicKey.from_raw(self.parent.public_key)
        )
        check_certificate(certificate, self.network, self.parent)
        check_validity(certificate, now_ms, self.limits)
        node = certificate.node
        if node in self._revoked:
            raise Refused(
                Code.REVOKED, f"{certificate.name} was revoked; it may only return as a new node."
            )
        others = (c for c in (self.parent, *self._members.values()) if c.node != node)
        if any(same_identity(certificate, other) for other in others) or node == self.parent.node:
            raise Refused(Code.DUPLICATE_NODE, f"{certificate.name} uses another member's key.")
        if held := self._members.get(node):
            self._check_successor(certificate, held, envelope)
        self._members[node] = certificate
        return certificate

    def revoke(self, node: NodeId) -> None:
        """Shut a node out for good, also one that is not enrolled."""
        self._revoked.add(node)

    def member(self, node: NodeId) -> Certificate | None:
        """The certificate of an enrolled node, revoked or not."""
        return self._members.get(node)

    def is_revoked(self, node: NodeId) -> bool:
        """Whether the node was revoked."""
        return node in self._revoked

    @property
    def active(self) -> tuple[NodeId, ...]:
        """Enrolled nodes that are not revoked, in order."""
        return tuple(sorted(self._members.keys() - self._revoked))

    def _check_successor(self, new: Certificate, held: Certificate, envelope: Envelope) -> None:
        if (new.scope, new.role) != (held.scope, held.role):
            raise Refused(
                Code.DUPLICATE_NODE,
                f"{new.name} is a {held.role} of {held.scope} already; one identity has one place.",
            )
        same_key = new.public_key == held.public_key
        if new.key_epoch != held.key_epoch + (0 if same_key else 1):
            raise Refused(
                Code.WRONG_KEY_EPOCH,
                f"{new.name} is at key epoch {held.key_epoch}; the certificate says "
                f"{new.key_epoch} for {'the same' if same_key else 'a new'} key.",
            )
        if not same_key:
            envelope.verify(PublicKey.from_raw(held.public_key))
