"""Who belongs: the network's own statement, and the certificates that parents sign."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from protocol import banyan_pb2
from protocol.limits import LIMITS
from protocol.statements.base import Statement, payload_type
from protocol.statements.kinds import (
    Choice,
    DigestField,
    Label,
    Many,
    Milliseconds,
    NodeField,
    NonceField,
    PublicKeyField,
    Rank,
    Raw,
    ScopeField,
    Share,
    SmallOrdinal,
    Text,
)


class Role(StrEnum):
    """Which links a node has: a device only an uplink, a root only a downlink."""

    DEVICE = "device"
    INTERIOR = "interior"
    ROOT = "root"


@dataclass(frozen=True, kw_only=True, slots=True)
class Network(Statement):
    """The model and the coordinates that all nodes share, signed by the root.

    ``network`` is its id; ``base``, ``tokenizer``, ``basis`` and ``layout`` are the digests of
    what fixes the coordinates, ``rank`` is R, ``targets`` the names of the adapted layers.
    """

    PAYLOAD_TYPE = payload_type("network")
    MESSAGE = banyan_pb2.Network

    name: Label
    network: DigestField
    base: DigestField
    tokenizer: DigestField
    basis: DigestField
    layout: DigestField
    rank: Rank
    targets: Annotated[
        tuple[str, ...], Many(Text(r"[A-Za-z0-9_.*-]{1,128}"), 1, LIMITS.max_targets, distinct=True)
    ]
    root: NodeField
    root_key: PublicKeyField
    created_ms: Milliseconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate(Statement):
    """A membership, signed by the parent's key.

    ``scope`` is the scope that the node owns; for a device, the one it hangs below. ``mask_rank``
    is how many rows of the basis it trains, ``quota`` the most weight it may have, from 0 to 1,
    ``transport_key`` the public key (PEM) that opens the connection. The root's certificate is
    its own: it names itself as parent.
    """

    PAYLOAD_TYPE = payload_type("certificate")
    MESSAGE = banyan_pb2.Certificate

    network: DigestField
    node: NodeField
    public_key: PublicKeyField
    key_epoch: SmallOrdinal
    scope: ScopeField
    role: Annotated[Role, Choice(Role, "Role")]
    parent: NodeField
    parent_scope: ScopeField
    mask_rank: Rank
    quota: Share
    transport_key: Annotated[bytes, Raw(1, 1024)]
    valid_from_ms: Milliseconds
    valid_until_ms: Milliseconds
    name: Label

    def _contradiction(self) -> str:
        if self.valid_until_ms <= self.valid_from_ms:
            return "valid_until_ms is not after valid_from_ms"
        return ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkAuthority(Statement):
    """What a node's TLS certificate chains to at present, signed by the node.

    A child that does not recognise its parent's certificate any more asks for it. ``nonce`` is the
    child's, ``authority`` the certificate of the authority, PEM.
    """

    PAYLOAD_TYPE = payload_type("link-authority")
    MESSAGE = banyan_pb2.LinkAuthority

    network: DigestField
    node: NodeField
    nonce: NonceField
    authority: Annotated[bytes, Raw(1, 8192)]
    issued_ms: Milliseconds
