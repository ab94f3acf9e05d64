"""Claims about transport keys, TLS files and the environment of a link."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from nodes.errors import NodeError
from nodes.flower.environment import SWITCHES, prepare_environment
from nodes.flower.https import trust
from nodes.trust.tls import make_tls
from nodes.trust.transport_keys import (
    canonical_pem,
    flower_node_id,
    generate_transport_key,
    load_transport_private,
    transport_public_pem,
)
from protocol import Refused

PEM, SPKI = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo


def test_a_node_id_follows_from_the_key_alone() -> None:
    public = transport_public_pem(generate_transport_key())
    assert flower_node_id(public) == flower_node_id(b"\n" + public + b"\n")
    assert flower_node_id(public) != flower_node_id(transport_public_pem(generate_transport_key()))


def test_a_key_has_one_form() -> None:
    public = transport_public_pem(generate_transport_key())
    assert canonical_pem(public.replace(b"\n", b"\r\n")) == public


def _weak() -> bytes:
    return ec.generate_private_key(ec.SECP192R1()).public_key().public_bytes(PEM, SPKI)


def _other_kind() -> bytes:
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(PEM, SPKI)


@pytest.mark.parametrize("pem", [b"", b"no key", _other_kind(), _weak(), generate_transport_key()])
def test_what_is_no_strong_ec_key_is_not_admitted(pem: bytes) -> None:
    with pytest.raises(Refused, match="bad-transport-key"):
        canonical_pem(pem)


def test_a_damaged_private_key_is_named_as_such() -> None:
    with pytest.raises(NodeError, match="bad-transport-key"):
        load_transport_private(generate_transport_key()[:100])


def test_private_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "tls")
    private = {path for path in files.key.parent.iterdir() if b"PRIVATE" in path.read_bytes()}
    assert private == {files.key, files.ca_key}
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_a_certificate_names_the_hosts_and_loopback(tmp_path: Path) -> None:
    files = make_tls(tmp_path, ["tier.example", "192.0.2.7"])
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"tier.example", "localhost"}
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"192.0.2.7", "127.0.0.1", "::1"}


def test_a_child_speaks_no_tls_below_1_3(tmp_path: Path) -> None:
    context = trust(make_tls(tmp_path).ca.read_bytes())
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_an_authority_that_is_no_certificate_is_named_as_such() -> None:
    with pytest.raises(NodeError, match="bad-authority"):
        trust(b"nothing")


def test_flower_is_told_to_stay_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SWITCHES, "FLWR_HOME", "MALLOC_ARENA_MAX"):
        monkeypatch.setenv(name, "before")
    prepare_environment(tmp_path)
    assert os.environ["FLWR_HOME"] == str(tmp_path)
    assert {name: os.environ[name] for name in SWITCHES} == SWITCHES
