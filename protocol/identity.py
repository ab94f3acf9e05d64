"""Ed25519 identities: the keys that sign every statement.

A ``PublicKey`` that exists is a point of the curve, canonically written, and not one of the eight
of small order: with such a key one signature verifies for most messages. Source: RFC 8032 section
5.1.3 for decoding; Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" for what libraries let
through.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from protocol.errors import Code, ProtocolError, Refused
from protocol.ids import KeyId, digest_of

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_SIGN_BIT: Final = 1 << 255

# A key is 32 bytes, little-endian: y, and in the highest bit the sign of x. These are the y of the
# eight points of small order; both signs of each are refused. The last two stand for 0 and 1 in a
# form that is not canonical (y + p); -1 and the two of order 8 have no such form in 255 bits.
SMALL_ORDER_Y: Final = frozenset(
    int.from_bytes(bytes.fromhex(encoded), "little")
    for encoded in (
        "0000000000000000000000000000000000000000000000000000000000000000",  # order 4
        "0100000000000000000000000000000000000000000000000000000000000000",  # order 1
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # order 2
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",  # order 8
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",  # order 8
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # p, read as 0
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",  # p + 1, read as 1
    )
)


@dataclass(frozen=True)
class PublicKey:
    """A checked Ed25519 public key, 32 raw bytes.

    Raises ``Refused``: ``malformed`` for what is not a point, ``weak-key`` for a point of small
    order or one that is not canonically written.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if len(self.raw) != 32:
            raise Refused(
                Code.MALFORMED, f"An Ed25519 public key has 32 bytes, got {len(self.raw)}."
            )
        y = int.from_bytes(self.raw, "little") & ~_SIGN_BIT
        if y in SMALL_ORDER_Y:
            raise Refused(
                Code.WEAK_KEY,
                "This public key has small order: one signature would hold for most messages. "
                "Make a new key.",
            )
        if y >= _P:
            raise Refused(Code.WEAK_KEY, "This public key is not canonically written.")
        if not _is_on_curve(y):
            raise Refused(Code.MALFORMED, "These 32 bytes are not a point of Ed25519's curve.")

    @staticmethod
    def from_raw(raw: bytes) -> PublicKey:
        """The key with these 32 bytes; raises as the class says. A key is checked once."""
        return _checked(raw)

    @cached_property
    def keyid(self) -> KeyId:
        """SHA-256 of the raw key."""
        return KeyId(digest_of(self.raw))

    @cached_property
    def _loaded(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.raw)

    def verify(self, signature: bytes, data: bytes) -> None:
        """Raise ``Refused`` ``bad-signature`` unless ``signature`` is this key's over ``data``."""
        try:
            self._loaded.verify(signature, data)
        except InvalidSignature:
            raise Refused(
                Code.BAD_SIGNATURE, f"The signature does not hold for key {self.keyid[:12]}…."
            ) from None


@lru_cache(maxsize=4096)
def _checked(raw: bytes) -> PublicKey:
    """A key by its bytes: whether they are a sound point takes longer than a signature."""
    return PublicKey(raw)


class SigningKey:
    """An Ed25519 private key. It never shows itself in text."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load(cls, path: Path) -> SigningKey:
        """Read a key that ``save`` wrote. Raises ``ProtocolError`` ``bad-key-file``."""
        try:
            key = load_pem_private_key(path.read_bytes(), password=None)
        except OSError as error:
            raise ProtocolError(
                Code.BAD_KEY_FILE, f"The key file {path} cannot be read: {error.strerror}."
            ) from None
        except (ValueError, TypeError):
            raise ProtocolError(
                Code.BAD_KEY_FILE, f"The file {path} is not an unencrypted private key in PEM."
            ) from None
        if not isinstance(key, Ed25519PrivateKey):
            raise ProtocolError(Code.BAD_KEY_FILE, f"The key in {path} is not an Ed25519 key.")
        return cls(key)

    def save(self, path: Path) -> None:
        """Write the key as PKCS #8 PEM, for its owner only, so that it is whole or not there."""
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def sign(self, data: bytes) -> bytes:
        """The 64-byte signature over ``data``."""
        return self._key.sign(data)

    def derive(self, purpose: str) -> bytes:
        """32 secret bytes that follow from this key, others for every purpose (HKDF-SHA-256)."""
        derivation = HKDF(hashes.SHA256(), length=32, salt=None, info=purpose.encode())
        return derivation.derive(self._key.private_bytes_raw())

    def __repr__(self) -> str:
        return f"SigningKey({self.public.keyid[:12]}…)"


def _is_on_curve(y: int) -> bool:
    """Whether -x² + y² = 1 + d·x²·y² has a solution x: (y² - 1)/(d·y² + 1) is a square mod p."""
    y2 = y * y % _P
    x2 = (y2 - 1) * pow(_D * y2 + 1, -1, _P) % _P
    return pow(x2, (_P - 1) // 2, _P) in (0, 1)
