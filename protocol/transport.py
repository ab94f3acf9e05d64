"""Transport keys: the public EC keys that open connections, read strictly and named in one form.

They decide who may connect, and nothing else: what a peer says is believed only for its Ed25519
signature.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from protocol.errors import Code, Refused
from protocol.ids import Digest, digest_of

TRANSPORT_CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


def load_transport_key(public_pem: bytes) -> ec.EllipticCurvePublicKey:
    """Read a public transport key from its PEM.

    Raises ``Refused`` ``bad-transport-key`` for anything but a public EC key on P-256, P-384 or
    P-521.
    """
    try:
        key = load_pem_public_key(public_pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Refused(
            Code.BAD_TRANSPORT_KEY, "The transport key is not a public key in PEM."
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
        key.curve, TRANSPORT_CURVES
    ):
        raise Refused(
            Code.BAD_TRANSPORT_KEY, "A transport key is an EC key on P-256, P-384 or P-521."
        )
    return key


@lru_cache(maxsize=4096)
def transport_digest(public_pem: bytes) -> Digest:
    """Name a transport key, however its PEM is written: the SHA-256 of its DER form.

    Certificates from before keys were checked may hold what is no key: that is named by the
    SHA-256 of its bytes.
    """
    try:
        key = load_transport_key(public_pem)
    except Refused:
        return digest_of(public_pem)
    return digest_of(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
