"""What the rules of membership need of a member, and what each member has to itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from protocol.identity import PublicKey
from protocol.ids import Digest, KeyId, NodeId, Scope
from protocol.statements import Certificate, Role
from protocol.transport import transport_digest


@dataclass(frozen=True)
class Member:
    """What the rules need of a certificate.

    Attributes:
        key: names the key that signs what the node says.
        transport: names the key that opens its connection; empty where that is not known, as of
            an old ledger read without its artefacts.
        certificate: the digest under which the certificate's envelope is stored.
    """

    node: NodeId
    key: KeyId
    transport: Digest
    epoch: int
    scope: Scope
    role: Role
    name: str
    certificate: Digest

    @classmethod
    def of(cls, certificate: Certificate, digest: Digest) -> Member:
        """The member that a verified certificate makes; ``digest`` names its envelope."""
        return cls(
            node=certificate.node,
            key=PublicKey.from_raw(certificate.public_key).keyid,
            transport=transport_digest(certificate.transport_key),
            epoch=certificate.key_epoch,
            scope=certificate.scope,
            role=certificate.role,
            name=certificate.name,
            certificate=digest,
        )


Holding = tuple[str, str]
"""Something that one node has and no other may have: its kind and its value."""


@dataclass(frozen=True)
class MembershipParts:
    """All that a membership holds; see the attributes of ``Membership``."""

    members: tuple[Member, ...]
    revoked: tuple[NodeId, ...]
    suspended: tuple[NodeId, ...]
    departures: Mapping[NodeId, int]
    keepers: tuple[tuple[str, str, NodeId], ...]
    users: tuple[tuple[str, str, tuple[NodeId, ...]], ...]


def keys_of(member: Member) -> Iterator[Holding]:
    """Yield its signing keys: its id is the digest of the first, which stays its own."""
    yield "key", member.node
    yield "key", member.key


def transport_of(member: Member) -> Holding:
    """Return the key of its connections. Where it is not known, no other node can have it."""
    return "transport", member.transport or member.node


def used_by(member: Member) -> Iterator[Holding]:
    """Yield what it has to itself while it is a member: a name, an interior node its scope too."""
    if member.role is not Role.DEVICE:
        yield "scope", str(member.scope)
    yield "name", member.name
