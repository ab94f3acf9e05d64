"""Claims about link certificates: whose they are, how long they last, what they open."""

from __future__ import annotations

import datetime
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.state.home import Home, open_home
from nodes.state.node import Node
from nodes.trust.enrolment import enrol_folder
from nodes.trust.link_certificates import (
    LINK_FILE,
    LINK_LIFE,
    install_link,
    issue_link,
    link_ends_ms,
    link_is_due,
    peer_name,
)
from nodes.trust.tls import authority_pem, make_tls
from protocol import Certificate, NodeId, Role, Scope, SigningKey
from tests.nodes.network import make_root

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


@pytest.fixture
def root(tmp_path: Path, base: Path) -> Iterator[Node]:
    folder = make_root(tmp_path / "root", base)
    clock = SystemClock()
    with closing(Node(open_home(folder, clock.now_ms()), clock)) as node:
        yield node


@pytest.fixture
def child(root: Node, tmp_path: Path) -> Home:
    return enrolled(root, tmp_path / "child")


def enrolled(root: Node, folder: Path) -> Home:
    return enrol_folder(root, folder, folder.name, Scope(), Role.DEVICE, ["127.0.0.1:1"])


def issued(root: Node, child: Home, now: datetime.datetime = NOW) -> bytes:
    return issue_link(root.home.folder / "tls", root.home.key, child.certificate, now)


def authority(root: Node) -> bytes:
    return authority_pem(root.home.folder / "tls", root.home.key)


def names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return found.get_values_for_type(x509.DNSName)


def test_a_peer_name_is_a_dns_name_of_its_own_for_each_node() -> None:
    one, other = NodeId("a1" * 32), NodeId("a1" * 31 + "a2")
    assert peer_name(one) != peer_name(other)
    assert re.fullmatch(r"([a-z0-9]{1,63}\.)+[a-z]+", peer_name(one))


def test_a_link_certificate_is_for_the_transport_key_and_the_name_of_its_node(
    root: Node, child: Home
) -> None:
    link = x509.load_pem_x509_certificate(issued(root, child))
    public = link.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert public == child.certificate.transport_key
    assert names(link) == [peer_name(child.id)]
    common = link.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert [each.value for each in common] == ["*"]
    purposes = link.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    (signer,) = x509.load_pem_x509_certificates(authority(root))
    link.verify_directly_issued_by(signer)


def test_a_link_certificate_lives_for_a_week_and_is_due_at_half_of_its_life(
    root: Node, child: Home
) -> None:
    link = issued(root, child)
    assert link_ends_ms(link) == (NOW + 7 * DAY).timestamp() * 1000
    assert [days for days in range(-3, 10) if link_is_due(link, NOW + days * DAY)] == [
        -3,
        -2,  # from the future: the clock that signed it was wrong
        *range(3, 10),
    ]


def test_a_parents_own_certificate_has_the_form_of_the_circle(root: Node) -> None:
    files = make_tls(root.home.folder / "tls", ["tier.example"], identity=root.home.key)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert {peer_name(root.home.id), "tier.example", "localhost"} <= set(names(certificate))
    assert certificate.not_valid_after_utc <= datetime.datetime.now(datetime.UTC) + LINK_LIFE


def test_both_ends_accept_each_other_and_expect_the_nodes_name(root: Node, child: Home) -> None:
    """TLS with certificates at both ends; the dialler is told the name of the node it wants."""
    files = make_tls(root.home.folder / "tls", identity=root.home.key)
    install_link(child.folder, issued(root, child), authority(root))

    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    server.load_verify_locations(cadata=authority(root).decode())
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cadata=child.parent_ca.decode())
    client.load_cert_chain(child.folder / LINK_FILE, child.folder / "transport.pem")

    def shake(name: str) -> bytes | None:
        ours, theirs = socket.socketpair()
        shown: list[bytes | None] = []

        def serve() -> None:
            try:
                with server.wrap_socket(theirs, server_side=True) as secure:
                    shown.append(secure.getpeercert(binary_form=True))
                    secure.send(b"x")
            except OSError:
                theirs.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with client.wrap_socket(ours, server_hostname=name) as secure:
                secure.recv(1)
        finally:
            thread.join()
        return shown[0]

    shown = shake(peer_name(root.home.id))
    assert shown is not None
    assert names(x509.load_der_x509_certificate(shown)) == [peer_name(child.id)]
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(peer_name(child.id))


def test_a_link_certificate_is_installed_once(root: Node, child: Home) -> None:
    link = issued(root, child)
    assert install_link(child.folder, link, authority(root))
    assert (child.folder / LINK_FILE).read_bytes() == link
    assert not install_link(child.folder, link, authority(root))


def changed(certificate: Certificate, other: Certificate, field: str) -> Certificate:
    from dataclasses import replace

    return replace(certificate, **{field: getattr(other, field)})


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("another key", "bad-link"),
        ("another node", "bad-link"),
        ("another authority", "bad-link"),
        ("two certificates", "bad-link"),
        ("cut", "bad-link"),
        ("nothing", "bad-link"),
        ("no authority", "bad-authority"),
        ("endless authority", "bad-authority"),
    ],
)
def test_what_is_not_this_nodes_link_certificate_is_not_installed(
    root: Node, child: Home, tmp_path: Path, what: str, code: str
) -> None:
    good, trusted = issued(root, child), authority(root)
    install_link(child.folder, good, trusted)
    other = enrolled(root, tmp_path / "other").certificate
    own, folder, key = child.certificate, root.home.folder / "tls", root.home.key
    bad = good
    match what:
        case "another key":
            bad = issue_link(folder, key, changed(own, other, "transport_key"), NOW)
        case "another node":
            bad = issue_link(folder, key, changed(own, other, "node"), NOW)
        case "another authority":
            bad = issue_link(tmp_path / "tls", SigningKey.generate(), own, NOW)
        case "two certificates":
            bad = good + good
        case "cut":
            bad = good[:200]
        case "nothing":
            bad = b""
        case "no authority":
            trusted = b"none"
        case "endless authority":
            trusted *= 20
    with pytest.raises(NodeError) as refused:
        install_link(child.folder, bad, trusted)
    assert refused.value.code == code
    assert (child.folder / LINK_FILE).read_bytes() == good


def test_a_lost_authority_is_made_again_and_goes_on_signing(root: Node, child: Home) -> None:
    trusted = authority(root)
    for file in (root.home.folder / "tls").iterdir():
        file.unlink()
    install_link(child.folder, issued(root, child), trusted)
