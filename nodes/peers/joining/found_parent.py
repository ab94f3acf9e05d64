"""Find a parent by the token it made, and recognise it before anything is told to it.

A new node knows one digest of its parent: that of its link authority's certificate. It takes the
certificate that is shown at an address, asks over a connection that believes this certificate alone
what it chains to, and believes the answer only if it has that digest. From then on connections are
verified by that authority.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from nodes.errors import NodeError
from nodes.machine.randomness import Randomness, SystemRandomness
from nodes.peers.joining.token import JoinToken
from nodes.peers.wire.client import Credentials, PeerChannel, pinned_leaf
from nodes.peers.wire.errors import LINK_DOWN, PeerError
from nodes.trust.tls import peer_name
from protocol import LIMITS, Digest, Envelope, LinkAuthority, NodeId, Refused, digest_of, peer_pb2

NONCE_BYTES = 32
CALL_S, CONNECT_S = 15.0, 5.0

T = TypeVar("T")


@dataclass(frozen=True)
class FoundParent:
    """A parent's service Enrolment, behind the authority that a token names.

    Attributes:
        channel: verified by that authority.
        parent: the parent's id as it says itself; its certificate must confirm it.
        authority: the certificate of the authority that the token names, PEM.
    """

    channel: PeerChannel
    parent: NodeId
    authority: bytes

    def ask(self, method: str, request: peer_pb2.EnrolRequest) -> peer_pb2.EnrolReply:
        """Ask the parent. Raises ``PeerError``."""
        reply: peer_pb2.EnrolReply = self.channel.ask(method, request, CALL_S)
        return reply

    def close(self) -> None:
        """Close the connections."""
        self.channel.close()


def find_parent(token: JoinToken, randomness: Randomness | None = None) -> FoundParent:
    """Find the parent at one of the token's addresses.

    Raises ``PeerError`` ``link-down`` where none answers, ``NodeError`` ``wrong-parent`` when only
    others answer than the one that made the token.
    """
    failures: list[NodeError] = []
    for address in token.addresses:
        try:
            parent, authority = _recognise(address, token, randomness or SystemRandomness())
        except NodeError as error:
            failures.append(error)
            continue
        believed = Credentials(authority)
        first = (address, *(other for other in token.addresses if other != address))
        channel = PeerChannel(partial(_same, first), partial(_same, believed), peer_name(parent))
        return FoundParent(channel, parent, authority)
    others = [error for error in failures if error.code != LINK_DOWN]
    if others:
        raise others[0]
    tried = " ".join(error.sentence for error in failures)
    raise PeerError(LINK_DOWN, f"The parent is not reached. Does it run? {tried}")


def _same(value: T) -> T:
    return value


def _recognise(address: str, token: JoinToken, randomness: Randomness) -> tuple[NodeId, bytes]:
    """Return the id of the node at an address, and the authority that the token names."""
    leaf = pinned_leaf(address, CONNECT_S)
    nonce = randomness.token(NONCE_BYTES)
    channel = PeerChannel(lambda: (address,), lambda: Credentials(leaf), _any_name(leaf, address))
    try:
        reply = channel.ask("Authority", peer_pb2.AuthorityRequest(nonce=nonce), CALL_S)
    finally:
        channel.close()
    try:
        sealed = Envelope.decode(reply.authority, LIMITS)
        sealed.expect(LinkAuthority)
        # Whose key should have signed it is not known yet. The token's digest decides, and what the
        # parent answers later must be signed by the node that is named here.
        said = LinkAuthority.from_bytes(sealed.payload)
    except Refused:
        raise _other(address) from None
    if said.nonce != nonce:
        raise _other(address)
    authority = named_authority(said.authority, token.authority)
    if authority is None or not _chains(leaf, authority):
        raise _other(address)
    return said.node, authority


def named_authority(pem: bytes, digest: Digest) -> bytes | None:
    """Return the certificate of that digest among those of a PEM file, PEM; None without it."""
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return None
    for certificate in certificates:
        if digest_of(certificate.public_bytes(Encoding.DER)) == digest:
            return certificate.public_bytes(Encoding.PEM)
    return None


def _chains(leaf: bytes, authority: bytes) -> bool:
    try:
        x509.load_pem_x509_certificate(leaf).verify_directly_issued_by(
            x509.load_pem_x509_certificate(authority)
        )
    except Exception:  # another name, another key, another kind of key
        return False
    return True


def _any_name(leaf: bytes, address: str) -> str:
    """Return a DNS name of a certificate: gRPC wants to find one that it expects."""
    try:
        names = x509.load_pem_x509_certificate(leaf).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        return names.value.get_values_for_type(x509.DNSName)[0]
    except (x509.ExtensionNotFound, ValueError, IndexError):
        raise _other(address) from None


def _other(address: str) -> NodeError:
    return NodeError(
        "wrong-parent",
        f"Another node answers at {address} than the one that made this token: its parent may have "
        "moved. Ask for a new token.",
    )
