"""Signatures checked anew, from bytes and public keys alone.

Nothing here uses what nodes use to decide: the encoding that is signed is written out once more,
and the curve's library is asked directly. So a check that production forgets is missed here.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import DecodeError

from protocol import banyan_pb2

_KIND = "application/vnd.banyan.{}.v1+protobuf"


def digest(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def signed_bytes(kind: str, payload: bytes) -> bytes:
    """What DSSE v1 has a signature over."""
    name = kind.encode()
    return b" ".join((b"DSSEv1", b"%d" % len(name), name, b"%d" % len(payload), payload))


@lru_cache(maxsize=8192)
def signed(envelope: bytes, key: bytes, kind: str) -> bytes | None:
    """The payload of an envelope of that kind if ``key`` (32 bytes) signed it, else None."""
    message = banyan_pb2.Envelope.FromString(envelope)
    if message.payload_type != _KIND.format(kind):
        return None
    data = signed_bytes(message.payload_type, message.payload)
    for signature in message.signatures:
        try:
            _key(key).verify(signature.sig, data)
        except InvalidSignature:
            continue
        payload: bytes = message.payload
        return payload
    return None


def named(envelope: bytes) -> str | None:
    """By which name ledgers and releases know an envelope; None for other bytes."""
    try:
        message = banyan_pb2.Envelope.FromString(envelope)
    except DecodeError:
        return None
    return digest(signed_bytes(message.payload_type, message.payload))


def chain_digest(releases: list[str]) -> str:
    """By which a release names the releases above it."""
    return digest(b"banyan.chain.v1:" + b"".join(map(bytes.fromhex, releases)))


@lru_cache(maxsize=256)
def _key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)
