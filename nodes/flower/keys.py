"""Transport keys: the EC keys with which Flower authenticates a connection. Imports no flwr."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from nodes.errors import NodeError


def generate_transport_key() -> bytes:
    """A new private key on P-384, as Flower wants it, PKCS #8 PEM."""
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_transport_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a private key. Raises ``NodeError`` ``bad-key-file``."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise NodeError("bad-key-file", f"The transport key is unreadable: {error}.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise NodeError("bad-key-file", "The transport key is not an EC key.")
    return key


def transport_public_pem(pem: bytes) -> bytes:
    """The public half of a private key, PEM."""
    public = load_transport_key(pem).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
