"""Transport keys as Flower uses them: private halves, the PEM it compares, the node id it derives.

``protocol.transport`` reads public keys. This module imports no flwr, so that enrolment needs none.
"""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nodes.errors import NodeError
from protocol import TRANSPORT_CURVES, load_transport_key, transport_digest

_RESERVED_IDS = 2  # Flower gives 0 to nobody and 1 to the server


def generate_transport_key() -> bytes:
    """Make a private key on P-256, PKCS8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def transport_public_pem(private_pem: bytes) -> bytes:
    """Derive the public half of a private key, PEM. Raises as ``load_transport_private`` does."""
    return _to_pem(load_transport_private(private_pem).public_key())


def load_transport_private(private_pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a private key from its PEM. Raises ``NodeError`` ``bad-transport-key``."""
    try:
        key = serialization.load_pem_private_key(private_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise NodeError("bad-transport-key", "This is not a private key in PEM.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(
        key.curve, TRANSPORT_CURVES
    ):
        raise NodeError(
            "bad-transport-key", "A transport key is an EC key on P-256, P-384 or P-521."
        )
    return key


def canonical_pem(public_pem: bytes) -> bytes:
    """Write a public key in the one PEM form that Flower compares byte by byte.

    Raises ``Refused`` ``bad-transport-key``.
    """
    return _to_pem(load_transport_key(public_pem))


def flower_node_id(public_pem: bytes) -> int:
    """Derive the Flower node id of a public key: the first 64 bits of its digest.

    Both ends derive it, so a link recovers by itself when either end restarts.
    """
    node_id = int(transport_digest(public_pem)[:16], 16)
    return node_id if node_id >= _RESERVED_IDS else node_id + _RESERVED_IDS


def _to_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
