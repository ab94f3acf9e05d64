"""Transport keys: the EC keys with which Flower knows who is at the other end of a connection.

They decide who may connect, and nothing else: what is said is believed only for its Ed25519
signature. This module imports no flwr, so that enrolment needs none.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from nodes.errors import NodeError

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_RESERVED_IDS = 2  # Flower gives 0 to nobody and 1 to the server


def generate_transport_key() -> bytes:
    """A new private key on P-256, PKCS8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def transport_public_pem(private_pem: bytes) -> bytes:
    """The public half of a private key, PEM."""
    return _to_pem(load_transport_key(private_pem).public_key())


def load_transport_key(private_pem: bytes) -> ec.EllipticCurvePrivateKey:
    """A private key from its PEM. Raises ``NodeError`` ``bad-transport-key``."""
    try:
        key = serialization.load_pem_private_key(private_pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _bad("This is not a private key in PEM.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, _CURVES):
        raise _bad("A transport key is an EC key on P-256, P-384 or P-521.")
    return key


def load_transport_public(public_pem: bytes) -> ec.EllipticCurvePublicKey:
    """A public key from its PEM. Raises ``NodeError`` ``bad-transport-key``."""
    try:
        key = serialization.load_pem_public_key(public_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _bad("This is not a public key in PEM.") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVES):
        raise _bad("A transport key is an EC key on P-256, P-384 or P-521.")
    return key


def canonical_pem(public_pem: bytes) -> bytes:
    """The same public key in the one PEM form that Flower compares byte by byte."""
    return _to_pem(load_transport_public(public_pem))


def flower_node_id(public_pem: bytes) -> int:
    """The Flower node id of a public key: the first 64 bits of the SHA-256 of its DER form.

    Both ends derive it, so a link recovers by itself when either end restarts.
    """
    der = load_transport_public(public_pem).public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    node_id = int.from_bytes(hashlib.sha256(der).digest()[:8], "big")
    return node_id if node_id >= _RESERVED_IDS else node_id + _RESERVED_IDS


def _to_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _bad(sentence: str) -> NodeError:
    return NodeError("bad-transport-key", sentence)
