"""Claims about a parent's TLS files: made where they are missing, renewed before they end."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from nodes.trust.tls import BACKDATED, SERVER_DAYS, TlsFiles, authority_pem, make_tls
from protocol import SigningKey

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
KEY = SigningKey.generate()


def serial(files: TlsFiles) -> int:
    return x509.load_pem_x509_certificate(files.certificate.read_bytes()).serial_number


def chains(files: TlsFiles, ca_pem: bytes, at: datetime.datetime) -> bool:
    """Whether a child that trusts this authority accepts the server's certificate."""
    authorities = x509.load_pem_x509_certificates(ca_pem)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
    for authority in authorities:
        try:
            certificate.verify_directly_issued_by(authority)
        except Exception:  # noqa: S112  another authority's
            continue
        return True
    return False


def test_what_is_well_is_left_alone(tmp_path: Path) -> None:
    files = make_tls(tmp_path, ["tier.example"], now=NOW)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    make_tls(tmp_path, ["tier.example"], now=NOW + 3 * DAY)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    make_tls(tmp_path, [], now=NOW)  # more names than are wanted do no harm
    assert serial(files) == serial(make_tls(tmp_path, now=NOW))


def test_a_certificate_is_renewed_when_half_of_its_life_is_over(tmp_path: Path) -> None:
    files = make_tls(tmp_path, now=NOW)
    first, ca = serial(files), files.ca.read_bytes()
    later = NOW + datetime.timedelta(days=SERVER_DAYS / 2) + DAY
    make_tls(tmp_path, now=later)
    assert serial(files) != first
    assert files.ca.read_bytes() == ca
    assert chains(files, ca, later + 6 * DAY)


def test_an_expired_certificate_is_renewed_under_the_same_authority(tmp_path: Path) -> None:
    files = make_tls(tmp_path, now=NOW)
    ca, later = files.ca.read_bytes(), NOW + 4000 * DAY
    make_tls(tmp_path, now=later)
    assert chains(files, ca, later)


def test_a_new_name_is_taken_into_the_certificate(tmp_path: Path) -> None:
    files = make_tls(tmp_path, ["a.example"], now=NOW)
    ca = files.ca.read_bytes()
    make_tls(tmp_path, ["a.example", "fd00::7"], now=NOW)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "fd00::7" in map(str, names.get_values_for_type(x509.IPAddress))
    assert chains(files, ca, NOW)


def test_a_certificate_from_the_future_is_replaced(tmp_path: Path) -> None:
    files = make_tls(tmp_path, now=NOW + 365 * DAY)  # the clock was wrong
    first = serial(files)
    make_tls(tmp_path, now=NOW)
    assert serial(files) != first


def test_a_child_whose_clock_is_behind_accepts_a_new_certificate(tmp_path: Path) -> None:
    files = make_tls(tmp_path, now=NOW)
    assert chains(files, files.ca.read_bytes(), NOW - BACKDATED + DAY)


@pytest.mark.parametrize("lost", ["server.pem", "server.key", "ca.pem", "ca.key", "all of it"])
@pytest.mark.parametrize("damaged", [False, True])
def test_what_is_lost_is_made_anew_and_children_notice_nothing(
    tmp_path: Path, lost: str, damaged: bool
) -> None:
    files = make_tls(tmp_path, ["tier.example"], identity=KEY, now=NOW)
    trusted = files.ca.read_bytes()
    for path in list(tmp_path.iterdir()):
        if lost in (path.name, "all of it"):
            if damaged:
                path.write_bytes(path.read_bytes()[:100])
            else:
                path.unlink()
    make_tls(tmp_path, ["tier.example"], identity=KEY, now=NOW)
    assert chains(files, trusted, NOW)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)  # they belong together


def test_another_node_has_another_authority(tmp_path: Path) -> None:
    files = make_tls(tmp_path / "a", identity=KEY, now=NOW)
    assert chains(files, authority_pem(tmp_path / "c", KEY), NOW)
    assert not chains(files, authority_pem(tmp_path / "b", SigningKey.generate()), NOW)


def test_an_authority_whose_key_was_thrown_away_stays_trusted_beside_a_new_one(
    tmp_path: Path,
) -> None:
    files = make_tls(tmp_path, now=NOW)  # as earlier versions made it: its key is random
    old, server = files.ca.read_bytes(), files.certificate.read_bytes()
    files.ca_key.unlink()
    make_tls(tmp_path, identity=KEY, now=NOW)
    present, *earlier = x509.load_pem_x509_certificates(files.ca.read_bytes())
    assert earlier == x509.load_pem_x509_certificates(old)
    x509.load_pem_x509_certificate(server).verify_directly_issued_by(earlier[0])
    x509.load_pem_x509_certificate(files.certificate.read_bytes()).verify_directly_issued_by(
        present
    )


def test_a_certificate_of_an_earlier_version_gets_the_nodes_name_at_once(tmp_path: Path) -> None:
    files = make_tls(tmp_path, ["tier.example"], now=NOW)
    first, trusted = serial(files), files.ca.read_bytes()
    make_tls(tmp_path, ["tier.example"], identity=KEY, now=NOW)
    assert serial(files) != first
    assert chains(files, trusted, NOW), "its authority's key is still there"
