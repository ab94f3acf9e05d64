"""Signed envelopes: bytes in, a verified statement out.

The signature is over DSSE's pre-authentication encoding of type and payload. The verified buffer
itself is parsed, never a re-serialisation: protobuf has no canonical form. Every
kind of statement has a payload type of its own, so that nothing signed as one kind can be read as
another. Source: the DSSE v1.0 protocol specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from protocol import banyan_pb2
from protocol.errors import Code, Refused
from protocol.identity import PublicKey, SigningKey
from protocol.ids import Digest, KeyId, digest_of
from protocol.limits import LIMITS, Limits
from protocol.statements import Statement
from protocol.statements.base import parse_message

S = TypeVar("S", bound=Statement)


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """Encode what is signed: type and payload, each with its length in bytes."""
    kind = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class Signature:
    """A signature, 64 bytes, and the id of the key that is said to have made it."""

    keyid: KeyId
    sig: bytes


@dataclass(frozen=True)
class Envelope:
    """Opaque bytes of a stated type, and signatures over both. Nothing in it is verified yet."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def digest(self) -> Digest:
        """Names what is signed, whatever signatures are attached."""
        return digest_of(self.signed_bytes)

    @property
    def signed_bytes(self) -> bytes:
        """The pre-authentication encoding of this envelope."""
        return pre_authentication_encoding(self.payload_type, self.payload)

    def encode(self) -> bytes:
        """As bytes."""
        signatures = [
            banyan_pb2.Signature(keyid=bytes.fromhex(s.keyid), sig=s.sig) for s in self.signatures
        ]
        data: bytes = banyan_pb2.Envelope(
            payload_type=self.payload_type, payload=self.payload, signatures=signatures
        ).SerializeToString(deterministic=True)
        return data

    @classmethod
    def decode(
        cls, data: bytes, limits: Limits = LIMITS, *, at_most: int | None = None
    ) -> Envelope:
        """Read an envelope of at most ``at_most`` bytes (by default ``limits.envelope_bytes``).

        Raises ``Refused`` ``too-large`` or ``malformed``.
        """
        most = limits.envelope_bytes if at_most is None else at_most
        if len(data) > most:
            raise Refused(
                Code.TOO_LARGE, f"The envelope has {len(data)} bytes, expected at most {most}."
            )
        message = parse_message(banyan_pb2.Envelope, data)
        signatures = tuple(Signature(KeyId(s.keyid.hex()), s.sig) for s in message.signatures)
        if not 1 <= len(signatures) <= limits.max_signatures:
            raise Refused(
                Code.MALFORMED,
                f"The envelope has {len(signatures)} signatures, "
                f"expected 1 to {limits.max_signatures}.",
            )
        if any(len(s.keyid) != 64 or len(s.sig) != 64 for s in signatures):
            raise Refused(
                Code.MALFORMED, "A signature has a key id of 32 bytes and a value of 64 bytes."
            )
        if len({s.keyid for s in signatures}) != len(signatures):
            raise Refused(Code.MALFORMED, "Two signatures of the envelope name the same key.")
        return cls(message.payload_type, message.payload, signatures)

    def expect(self, kind: type[Statement]) -> None:
        """Raise ``Refused`` ``unknown-type`` unless the envelope says it holds a ``kind``."""
        if self.payload_type != kind.PAYLOAD_TYPE:
            raise Refused(
                Code.UNKNOWN_TYPE,
                f"The envelope's type is {self.payload_type[:80]!r}, "
                f"expected {kind.PAYLOAD_TYPE!r}.",
            )

    def verify(self, key: PublicKey) -> None:
        """Raise ``Refused`` ``bad-signature`` unless ``key`` signed this envelope."""
        for signature in self.signatures:
            if signature.keyid == key.keyid:
                key.verify(signature.sig, self.signed_bytes)
                return
        raise Refused(
            Code.BAD_SIGNATURE, f"The envelope has no signature by key {key.keyid[:12]}…."
        )

    def signed_also_by(self, key: SigningKey) -> Envelope:
        """The same envelope with one more signature."""
        return Envelope(
            self.payload_type, self.payload, (*self.signatures, _sign(self.signed_bytes, key))
        )


def seal(statement: Statement, key: SigningKey) -> Envelope:
    """Sign a statement."""
    payload = statement.to_bytes()
    encoded = pre_authentication_encoding(statement.PAYLOAD_TYPE, payload)
    return Envelope(statement.PAYLOAD_TYPE, payload, (_sign(encoded, key),))


def open_envelope(envelope: Envelope, kind: type[S], key: PublicKey) -> S:
    """Check the type, verify the signature, then parse that same payload.

    Raises ``Refused`` ``unknown-type``, ``bad-signature`` or ``malformed``.
    """
    envelope.expect(kind)
    envelope.verify(key)
    return kind.from_bytes(envelope.payload)


def _sign(encoded: bytes, key: SigningKey) -> Signature:
    return Signature(key.public.keyid, key.sign(encoded))
