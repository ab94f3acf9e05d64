"""Link certificates: the X.509 certificate of a child's transport key, signed by its parent.

Both ends of a connection between peers show one. It says who may connect within one circle, for
days; what a peer says is believed only for its Ed25519 signature. A child's lies in ``link.pem`` in
its state folder. It is renewed when half of its life is over, with the membership or without.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.trust.tls import link_authority, peer_name, signed_by
from nodes.trust.transport_keys import transport_public_pem
from protocol import (
    LIMITS,
    Certificate,
    Envelope,
    NodeId,
    SigningKey,
    load_transport_key,
    transport_digest,
)

LINK_FILE = "link.pem"
LINK_LIFE = datetime.timedelta(days=7)
"""How long a link certificate is valid; it is renewed when half of that is over."""
BACKDATED = datetime.timedelta(days=1)
"""A node whose clock is behind must not refuse a certificate that is new."""
MAX_PEM_BYTES = 8192
"""Of one link certificate, and of the authorities of a circle."""

__all__ = [
    "LINK_FILE",
    "check_link",
    "install_link",
    "issue_link",
    "link_ends_ms",
    "link_is_due",
    "peer_name",
]


def issue_link(
    tls_folder: Path, identity: SigningKey, child: Certificate, now: datetime.datetime
) -> bytes:
    """Sign a child's link certificate with this node's authority; returns it as PEM.

    Args:
        tls_folder: where this node's authority is; it is made where it is missing.
        identity: this node's key.
        child: the child's membership: its transport key and its id go into the link certificate.
        now: with a time zone.

    Raises ``Refused`` ``bad-transport-key`` for a membership from before keys were checked.
    """
    key = load_transport_key(child.transport_key)
    names = [x509.DNSName(peer_name(child.node))]
    authority = link_authority(tls_folder, identity, now)
    return authority.issue(key, names, now - BACKDATED, now + LINK_LIFE)


def link_is_due(pem: bytes, now: datetime.datetime) -> bool:
    """Return whether half of a link certificate's life is over, or it is from the future.

    Raises ``NodeError`` ``bad-link`` for what is no certificate.
    """
    link = _read(pem)
    start, end = link.not_valid_before_utc, link.not_valid_after_utc
    return not start <= now < start + (end - start) / 2


def link_ends_ms(pem: bytes) -> int:
    """Return when a link certificate ends. Raises ``NodeError`` ``bad-link``."""
    return round(_read(pem).not_valid_after_utc.timestamp() * 1000)


def check_link(home_folder: Path, pem: bytes, authority_pem: bytes) -> None:
    """Check that a link certificate is this node's, and that an authority signed it.

    Raises ``NodeError`` ``bad-link`` for one that is damaged, or is for another key or another
    node, or that none of the authorities signed; ``bad-authority`` for authorities that are none.
    """
    link, authorities = _read(pem), _authorities(authority_pem)
    own = transport_public_pem((home_folder / "transport.pem").read_bytes())
    if transport_digest(_public(link)) != transport_digest(own):
        raise NodeError("bad-link", "The link certificate is for another transport key.")
    if _dns_names(link) != [peer_name(_own_id(home_folder))]:
        raise NodeError("bad-link", "The link certificate is named for another node.")
    if not any(signed_by(link, authority) for authority in authorities):
        raise NodeError("bad-link", "The link certificate was not signed by this authority.")


def install_link(home_folder: Path, pem: bytes, authority_pem: bytes) -> bool:
    """Write ``link.pem`` once it is checked; return whether it is another than before.

    Raises what ``check_link`` raises; then what was there stays.
    """
    check_link(home_folder, pem, authority_pem)
    file = home_folder / LINK_FILE
    if file.exists() and file.read_bytes() == pem:
        return False
    write_file(file, pem)
    return True


def _read(pem: bytes) -> x509.Certificate:
    try:
        (link,) = _load(pem)
    except ValueError:
        raise NodeError("bad-link", "The link certificate is not one certificate in PEM.") from None
    return link


def _authorities(pem: bytes) -> list[x509.Certificate]:
    try:
        return _load(pem)
    except ValueError:
        raise NodeError("bad-authority", "The authority is no certificate in PEM.") from None


def _load(pem: bytes) -> list[x509.Certificate]:
    if len(pem) > MAX_PEM_BYTES or not pem.isascii():
        raise ValueError(f"over {MAX_PEM_BYTES} bytes, or not ASCII")
    return x509.load_pem_x509_certificates(pem)


def _public(link: x509.Certificate) -> bytes:
    return link.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _dns_names(link: x509.Certificate) -> list[str]:
    try:
        names = link.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return names.get_values_for_type(x509.DNSName)


def _own_id(home_folder: Path) -> NodeId:
    """Return the node's id as its own certificate has it, verified when it was written."""
    last = max((home_folder / "path").glob("*.env"))
    return Certificate.from_bytes(Envelope.decode(last.read_bytes(), LIMITS).payload).node
