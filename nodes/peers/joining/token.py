"""Join tokens: one word that says which network, which parent, and proves an invitation.

Bytes of a token, then base64url without padding behind ``banyan-``::

    1   version (high half) and role (low half)
    32  digest of the network's signed statement
    32  SHA-256 of the certificate, DER, of the parent's link authority
    8   id        16  secret        6  end of the invitation, ms since the epoch
    …   addresses, a comma between two, directly followed by the scope, which begins with a slash;
        then, if the new node's name is decided, a question mark and that name, UTF-8
    4   CRC-32 of all that

A CRC-32 finds every change within 32 neighbouring bits, so every wrong letter and every two that
changed places; it is no protection against intent, and need not be one: what a token says is
checked by the digests and by the parent.
"""

from __future__ import annotations

import binascii
import struct
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from nodes.config.addresses import Address, distinct
from nodes.errors import NodeError
from protocol import Digest, ProtocolError, Role, Scope, check_label, digest_of

PREFIX = "banyan-"
ID_BYTES, SECRET_BYTES = 8, 16
MOST_ADDRESSES = 3
"""A code on a screen must stay small enough for a camera."""

_VERSION = 1
_ROLES = (Role.INTERIOR, Role.DEVICE)
_HEAD = struct.Struct(f">B32s32s{ID_BYTES}s{SECRET_BYTES}s6s")
_CHECK = struct.Struct(">I")
_MOST_LETTERS = 4096


@dataclass(frozen=True)
class JoinToken:
    """What a new node needs to find its parent, to recognise it, and to be let in.

    Attributes:
        network: digest of the network's signed statement.
        authority: SHA-256 of the DER of the certificate of the parent's link authority, hex.
        addresses: of the parent's service Enrolment, each ``host:port``, the best first; 1 to 3.
        id: names the invitation.
        secret: proves the invitation; shown to nobody and never sent.
        scope: the scope at which the new node becomes a member.
        role: what it becomes there: interior or device.
        expires_ms: when the invitation ends, by the parent's clock.
        name: what the new node must be called; empty leaves that to it.

    Raises ``NodeError`` ``bad-token``, ``bad-address``, ``Refused`` ``malformed`` for such a name.
    """

    network: Digest
    authority: Digest
    addresses: tuple[str, ...]
    id: bytes
    secret: bytes = field(repr=False)
    scope: Scope
    role: Role
    expires_ms: int
    name: str = ""

    def __post_init__(self) -> None:
        if self.role not in _ROLES:
            raise NodeError("bad-token", f"Nobody joins as {self.role}.")
        if not 1 <= len(self.addresses) <= MOST_ADDRESSES:
            raise NodeError("bad-token", f"A token names 1 to {MOST_ADDRESSES} addresses.")
        if distinct(self.addresses) != self.addresses:
            raise NodeError("bad-token", "A token names each address once, in its usual form.")
        if (len(self.id), len(self.secret)) != (ID_BYTES, SECRET_BYTES):
            raise NodeError("bad-token", "The id or the secret of this token has a wrong length.")
        if not 0 <= self.expires_ms < 1 << 48:
            raise NodeError("bad-token", "The end of this token is no time.")
        if self.name:
            check_label(self.name)

    @property
    def usual_name(self) -> str:
        """What a node is called that nobody named: always the same for one token."""
        last = self.scope.segments[-1] if self.scope.segments else "device"
        return f"{last}-{self.id.hex()[:4]}" if self.role is Role.DEVICE else last

    def encode(self) -> str:
        """Write the one word that ``decode`` reads."""
        head = _HEAD.pack(
            _VERSION << 4 | _ROLES.index(self.role),
            bytes.fromhex(self.network),
            bytes.fromhex(self.authority),
            self.id,
            self.secret,
            self.expires_ms.to_bytes(6, "big"),
        )
        named = f"?{self.name}" if self.name else ""
        data = head + f"{','.join(self.addresses)}{self.scope}{named}".encode()
        data += _CHECK.pack(zlib.crc32(data))
        return PREFIX + urlsafe_b64encode(data).decode("ascii").rstrip("=")

    @classmethod
    def decode(cls, text: str) -> JoinToken:
        """Read a token; white space in it, as of a line that was broken, does not matter.

        Raises ``NodeError`` ``bad-token`` for everything that ``encode`` did not write, above all
        for a letter that is another, and ``newer-token`` for one of a later version of Banyan.
        """
        head, tail = _unpacked("".join(text.split()))
        kind, network, authority, id_, secret, expires = _HEAD.unpack(head)
        if kind >> 4 != _VERSION:
            raise NodeError("newer-token", "This token is of a newer Banyan. Install that version.")
        if kind & 15 >= len(_ROLES):
            raise _bad("it names no role")
        place, asked, name = tail.partition("?")
        addresses, slash, scope = place.partition("/")
        try:
            if asked and not name:
                raise _bad("it names a node with nothing")
            return cls(
                network=Digest(network.hex()),
                authority=Digest(authority.hex()),
                addresses=tuple(str(Address.parse(one)) for one in addresses.split(",")),
                id=id_,
                secret=secret,
                scope=Scope.parse(slash + scope),
                role=_ROLES[kind & 15],
                expires_ms=int.from_bytes(expires, "big"),
                name=name,
            )
        except (NodeError, ProtocolError) as error:
            raise _bad(error.sentence.rstrip(".")) from None


def authority_digest(pem: bytes) -> Digest:
    """Return the digest by which a token names the first authority in a PEM file.

    Raises ``ValueError`` for what is no certificate.
    """
    return digest_of(x509.load_pem_x509_certificates(pem)[0].public_bytes(Encoding.DER))


def _unpacked(word: str) -> tuple[bytes, str]:
    """Return what stands before the addresses, and the addresses with the scope."""
    if not word.startswith(PREFIX):
        raise _bad(f"a token begins with {PREFIX}")
    if len(word) > _MOST_LETTERS:
        raise _bad("it is too long")
    letters = word.removeprefix(PREFIX)
    try:
        data = urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
        # Python passes over foreign letters, and the last letter may hold bits that mean nothing.
        if urlsafe_b64encode(data).decode("ascii").rstrip("=") != letters:
            raise _bad("a letter is wrong")
        checked = data[: -_CHECK.size]
        if len(checked) <= _HEAD.size or data[-_CHECK.size :] != _CHECK.pack(zlib.crc32(checked)):
            raise _bad("a letter is wrong or missing")
        return checked[: _HEAD.size], checked[_HEAD.size :].decode("utf-8")
    except (binascii.Error, ValueError):
        raise _bad("a letter is wrong") from None


def _bad(why: str) -> NodeError:
    return NodeError("bad-token", f"This is not a whole token: {why}. Copy it once more.")
