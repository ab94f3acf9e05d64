"""TLS files of a parent: an authority of its own and a server certificate under it.

Each parent is its own authority, and its children get that authority's certificate when they are
enrolled; no public authority is involved. The authority's key follows from the node's identity: a
``tls/`` folder that is gone is made anew with the same authority, and children notice nothing. The
authority never ends; what it signs lives for days and is renewed at half of that: this node's own
certificate, and those of its children (``link_certificates``). All of one circle have one form: the
DNS name that ``peer_name`` makes of the node's id, for either end of a connection.
"""

from __future__ import annotations

import datetime
import ipaddress
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nodes.machine.files import write_file
from protocol import NodeId, SigningKey

SERVER_DAYS = 7
"""How long a server certificate is valid; it is renewed when half of that is over."""
BACKDATED = datetime.timedelta(days=30)
"""A child whose clock is behind must not refuse a certificate that is new."""

_NEVER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""How RFC 5280 writes that a certificate has no end."""
_PURPOSE = "banyan link authority 1"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVERYBODY = "*"
"""The subject's common name: libtorrent takes a certificate for any torrent by it."""
_PEM = serialization.Encoding.PEM
_MAKING = threading.Lock()


def peer_name(node: NodeId) -> str:
    """Return the DNS name in the certificates of a node; a dialer expects it at any address."""
    return f"{node[:32]}.{node[32:]}.banyan"


@dataclass(frozen=True)
class TlsFiles:
    """Where the four PEM files of a parent are.

    ``ca`` may hold several authorities, the present one first: children trust each of them.
    """

    certificate: Path
    key: Path
    ca: Path
    ca_key: Path

    @classmethod
    def in_folder(cls, folder: Path) -> TlsFiles:
        """The files as ``make_tls`` names them."""
        names = ("server.pem", "server.key", "ca.pem", "ca.key")
        return cls(*(folder / name for name in names))


@dataclass(frozen=True)
class Authority:
    """An authority that can sign, and the certificates of all that are trusted in its circle."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    trusted: bytes

    def issue(
        self,
        key: ec.EllipticCurvePublicKey,
        names: Sequence[x509.GeneralName],
        start: datetime.datetime,
        end: datetime.datetime,
    ) -> bytes:
        """Sign a certificate for both ends of a connection; PEM."""
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(_named(_EVERYBODY), self.certificate.subject, key, start, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        return certificate.public_bytes(_PEM)


def make_tls(
    folder: Path,
    hosts: Sequence[str] = (),
    *,
    identity: SigningKey | None = None,
    now: datetime.datetime | None = None,
) -> TlsFiles:
    """Make what is missing in ``folder``, and renew what is due; do nothing where all is well.

    The files serve any TLS listener of this node. The server's certificate is renewed when it is
    missing or damaged, lacks a host, or has less than half of its life left. An authority whose key
    is lost is replaced, and stays trusted.

    Args:
        hosts: the names and IP addresses by which children reach this node. The machine's own
            loopback addresses are always in the certificate as well.
        identity: the node's first key: its authority follows from it, and its ``peer_name`` is in
            the certificate. By default the authority is a random one, without that name.
        now: by default the machine's time.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    files, authority = TlsFiles.in_folder(folder), link_authority(folder, identity, now)
    own = () if identity is None else (peer_name(NodeId(identity.public.keyid)),)
    names = _names((*own, *hosts))
    with _MAKING:
        if not _is_well(files, _certificates(files.ca), names, now):
            _make_server(files, authority, names, now)
    return files


def link_authority(folder: Path, identity: SigningKey | None, now: datetime.datetime) -> Authority:
    """Read this node's authority in ``folder``; make it where it is missing or damaged."""
    with _MAKING:
        folder.mkdir(parents=True, exist_ok=True)
        return _authority(TlsFiles.in_folder(folder), identity, now)


def authority_pem(folder: Path, identity: SigningKey) -> bytes:
    """Return what a child of this node must trust, PEM: one or several certificates."""
    return link_authority(folder, identity, datetime.datetime.now(datetime.UTC)).trusted


# -- the authority ------------------------------------------------------------------------------


def _authority(files: TlsFiles, identity: SigningKey | None, now: datetime.datetime) -> Authority:
    """Read the authority; make one where there is none or its key is lost."""
    trusted, kept = _certificates(files.ca), _private(files.ca_key)
    key = kept or _derived(identity)
    if kept is None:
        write_file(files.ca_key, _pem(key), 0o600)
    for certificate in trusted:
        if _spki(certificate.public_key()) == _spki(key.public_key()):
            return Authority(key, certificate, _pem_of(trusted))
    name = _named("Banyan node authority")
    certificate = (
        _builder(name, name, key.public_key(), now - BACKDATED, _NEVER)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    # An earlier authority stays trusted for as long as its certificates are in use.
    pem = _pem_of([certificate, *(c for c in trusted if c.not_valid_after_utc > now)])
    write_file(files.ca, pem)
    return Authority(key, certificate, pem)


def _derived(identity: SigningKey | None) -> ec.EllipticCurvePrivateKey:
    if identity is None:
        return ec.generate_private_key(ec.SECP256R1())
    secret = int.from_bytes(identity.derive(_PURPOSE), "big")
    return ec.derive_private_key(secret % (_ORDER - 1) + 1, ec.SECP256R1())


# -- the server's certificate -------------------------------------------------------------------


def _is_well(
    files: TlsFiles,
    trusted: Sequence[x509.Certificate],
    names: Sequence[x509.GeneralName],
    now: datetime.datetime,
) -> bool:
    """Return whether the server's certificate holds every name, and will for a while."""
    certificates, key = _certificates(files.certificate), _private(files.key)
    if len(certificates) != 1 or key is None:
        return False
    certificate = certificates[0]
    if _spki(certificate.public_key()) != _spki(key.public_key()):
        return False
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    # Of the shorter of its own life and ours: one made by an earlier version lives for two years.
    left = min((end - start) / 2, datetime.timedelta(days=SERVER_DAYS / 2))
    if not start <= now or end - now < left:
        return False
    if not any(signed_by(certificate, authority) for authority in trusted):
        return False
    alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(names) <= set(alternative.value)


def _make_server(
    files: TlsFiles,
    authority: Authority,
    names: Sequence[x509.GeneralName],
    now: datetime.datetime,
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    end = now + datetime.timedelta(days=SERVER_DAYS)
    pem = authority.issue(key.public_key(), names, now - BACKDATED, end)
    # Killed in between, the two do not match, and the next call makes both again.
    write_file(files.key, _pem(key), 0o600)
    write_file(files.certificate, pem)


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    """The subject's alternative names: the hosts and loopback, each once."""
    names: list[x509.GeneralName] = []
    for candidate in dict.fromkeys((*hosts, *_LOOPBACK)):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(candidate)))
        except ValueError:
            names.append(x509.DNSName(candidate))
    return names


# -- certificates and keys in files -------------------------------------------------------------


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    start: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificates(file: Path) -> list[x509.Certificate]:
    """Read the certificates of a file; none where it is missing or damaged."""
    try:
        return x509.load_pem_x509_certificates(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return []


def _private(file: Path) -> ec.EllipticCurvePrivateKey | None:
    """Read a private key; None where it is missing or damaged."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Return whether this authority itself signed a certificate."""
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:  # another key, another name, another kind of key
        return False
    return True


def _spki(key: object) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    public: bytes = key.public_bytes(encoding, form)  # type: ignore[attr-defined]
    return public


def _pem_of(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(_PEM) for certificate in certificates)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
