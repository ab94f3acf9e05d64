"""What a parent answers to a new member, verified as a whole before any of it is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodes.config.addresses import distinct
from nodes.config.reach import MOST_ADDRESSES
from nodes.errors import NodeError
from nodes.model.layout import Layout
from nodes.peers.joining.found_parent import named_authority
from nodes.peers.joining.token import JoinToken
from nodes.trust.transport_keys import canonical_pem, transport_public_pem
from protocol import (
    Certificate,
    Network,
    NodeId,
    ProtocolError,
    Refused,
    SigningKey,
    peer_pb2,
    verify_path,
)


@dataclass(frozen=True)
class Accepted:
    """A membership as its parent gave it.

    Attributes:
        path, envelopes: the certificates from the root to the new member, and their bytes.
        link: its link certificate, PEM.
        authority: what the certificates of the parent's circle chain to, PEM.
        addresses, peers, doors: of the parent's Flower link and of its services Peer and Enrolment.
    """

    network: Network
    network_envelope: bytes
    path: tuple[Certificate, ...]
    envelopes: tuple[bytes, ...]
    layout: str
    link: bytes
    authority: bytes
    addresses: tuple[str, ...]
    peers: tuple[str, ...]
    doors: tuple[str, ...]

    @property
    def certificate(self) -> Certificate:
        """The new member's own."""
        return self.path[-1]

    @property
    def parent(self) -> Certificate:
        """Its parent's."""
        return self.path[-2]


def read_answer(
    reply: peer_pb2.EnrolReply, folder: Path, token: JoinToken, parent: NodeId, now_ms: int
) -> Accepted:
    """Verify an answer for the node whose keys are in ``folder``.

    Args:
        parent: the id by which the parent's connection was verified.

    Raises ``Refused`` for a network that the token does not name and certificates that do not hold,
    ``NodeError`` ``bad-answer`` for everything else that does not fit.
    """
    envelopes = tuple(reply.path)
    network, path = verify_path(reply.network, envelopes, now_ms=now_ms, pinned=token.network)
    if len(path) < 2 or path[-2].node != parent:
        raise _bad("it has the certificates of another parent")
    _check_own(path[-1], folder, token)
    try:
        layout = Layout.from_json(reply.layout).digest
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        layout = None
    if layout != network.layout:
        raise _bad("its layout is not the network's")
    if named_authority(reply.authority, token.authority) is None:
        raise _bad("it has another authority than the token")
    addresses = _addresses(reply.addresses)
    if not addresses:
        raise _bad("it does not say where the parent is reached")
    return Accepted(
        network=network,
        network_envelope=reply.network,
        path=path,
        envelopes=envelopes,
        layout=reply.layout,
        link=reply.link,
        authority=reply.authority,
        addresses=addresses,
        peers=_addresses(reply.peers),
        doors=_addresses(reply.doors),
    )


def _check_own(own: Certificate, folder: Path, token: JoinToken) -> None:
    """Check that a certificate is for the keys in ``folder`` and the place in the token."""
    key = SigningKey.load(folder / "identity.pem")
    transport = transport_public_pem((folder / "transport.pem").read_bytes())
    try:
        certified = canonical_pem(own.transport_key)
    except Refused:
        certified = b""
    if (own.public_key, certified) != (key.public.raw, canonical_pem(transport)):
        raise _bad("its certificate is for other keys")
    if (own.scope, own.role) != (token.scope, token.role):
        raise _bad(f"it makes this node a {own.role} of {own.scope}")


def _addresses(given: Sequence[str]) -> tuple[str, ...]:
    if len(given) > MOST_ADDRESSES:
        raise _bad(f"it names {len(given)} addresses")
    try:
        return distinct(given)
    except (NodeError, ProtocolError) as error:
        raise _bad(str(error.sentence).rstrip(".")) from None


def _bad(why: str) -> NodeError:
    return NodeError("bad-answer", f"The parent's answer is refused: {why}.")
