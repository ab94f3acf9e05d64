"""Who calls: read from the client certificate of a connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nodes.peers.wire.errors import PeerError
from protocol import Digest, NodeId, Role, digest_of


@dataclass(frozen=True)
class Caller:
    """The node that asks.

    Attributes:
        node: None where nobody had to say who he is.
        address: the host it calls from, without a port.
    """

    node: NodeId | None
    role: Role | None
    name: str
    address: str

    @property
    def member(self) -> NodeId:
        """The node's id, where only members call."""
        assert self.node is not None  # noqa: S101  the listener asks for certificates
        return self.node


Identify = Callable[[Digest, str], Caller]
"""Finds who has a transport key, named by its digest, and calls from an address; raises
``NodeError`` or ``Refused`` for a node that may not call (any more)."""


@lru_cache(maxsize=4096)
def transport_of(pem: bytes) -> tuple[Digest, int]:
    """Return the digest of a certificate's key, and until when the certificate holds, ms.

    TLS has verified it when the connection was opened; it may have ended since. Raises
    ``PeerError`` ``malformed``.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except ValueError:
        raise PeerError("malformed", "The client certificate cannot be read.") from None
    return digest_of(key), round(certificate.not_valid_after_utc.timestamp() * 1000)


def host_of(peer: str) -> str:
    """Return the host of a connection as gRPC names it: ``ipv4:10.0.0.7:51234``."""
    address = peer.replace("%5B", "[").replace("%5D", "]").partition(":")[2]
    return address.rpartition(":")[0].strip("[]") or peer
