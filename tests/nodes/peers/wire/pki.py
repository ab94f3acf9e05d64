"""Circles for tests of the wire: an authority, and certificates under it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nodes.peers.wire.client import Credentials
from nodes.peers.wire.server import ServerTls

DAY = datetime.timedelta(days=1)
_PEM = serialization.Encoding.PEM


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


@dataclass
class Authority:
    """Signs certificates for names."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def name(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])

    @property
    def pem(self) -> bytes:
        return self._sign(self.name, self.key, "", datetime.timedelta(days=30), is_ca=True)

    def member(self, name: str, days: float = 7) -> Credentials:
        """Make a key and a certificate for it."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "*")])
        pem = self._sign(subject, key, name, datetime.timedelta(days=days))
        return Credentials(self.pem, pem, pem_of(key))

    def server(self, name: str, *, mutual: bool = True) -> ServerTls:
        """Make what a listener shows."""
        made = self.member(name)
        assert made.certificate and made.key
        return ServerTls(made.certificate, made.key, self.pem if mutual else None)

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        name: str,
        life: datetime.timedelta,
        is_ca: bool = False,
    ) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * DAY)
            .not_valid_after(now + life)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if name:
            names = x509.SubjectAlternativeName([x509.DNSName(name)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(_PEM)
