"""Envelopes: what is signed is what is read."""

import pytest

from protocol import (
    LIMITS,
    Certificate,
    Code,
    Envelope,
    Network,
    open_envelope,
    seal,
)
from protocol.envelope import Signature, pre_authentication_encoding
from tests.protocol.world import ALICE_KEY, BOB_KEY, NETWORK, ROOT_KEY, refused

SEALED = seal(NETWORK, ROOT_KEY)


def test_what_is_signed_is_the_encoding_of_the_dsse_specification() -> None:
    encoded = pre_authentication_encoding("http://example.com/HelloWorld", b"hello world")
    assert encoded == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_lengths_are_counted_in_bytes() -> None:
    assert pre_authentication_encoding("é", b"") == b"DSSEv1 2 \xc3\xa9 0 "


def test_a_sealed_statement_comes_back() -> None:
    envelope = Envelope.decode(SEALED.encode())
    assert envelope == SEALED
    assert open_envelope(envelope, Network, ROOT_KEY.public) == NETWORK


def test_more_signatures_do_not_change_the_digest() -> None:
    assert SEALED.signed_also_by(ALICE_KEY).digest == SEALED.digest


def test_one_signature_among_others_is_found() -> None:
    envelope = seal(NETWORK, ALICE_KEY).signed_also_by(BOB_KEY).signed_also_by(ROOT_KEY)
    assert open_envelope(envelope, Network, ROOT_KEY.public) == NETWORK


def test_another_type_has_another_digest() -> None:
    other = Envelope(Certificate.PAYLOAD_TYPE, SEALED.payload, SEALED.signatures)
    assert other.digest != SEALED.digest


def test_a_statement_is_not_read_as_another_kind() -> None:
    with refused(Code.UNKNOWN_TYPE):
        open_envelope(SEALED, Certificate, ROOT_KEY.public)


def test_a_changed_type_breaks_the_signature() -> None:
    relabelled = Envelope(Certificate.PAYLOAD_TYPE, SEALED.payload, SEALED.signatures)
    with refused(Code.BAD_SIGNATURE):
        open_envelope(relabelled, Certificate, ROOT_KEY.public)


def test_a_signature_is_checked_before_anything_is_parsed() -> None:
    rubbish = Envelope(Network.PAYLOAD_TYPE, b"\xff rubbish", SEALED.signatures)
    with refused(Code.BAD_SIGNATURE):
        open_envelope(rubbish, Network, ROOT_KEY.public)


def test_a_label_does_not_make_a_signature_hold() -> None:
    forged = seal(NETWORK, ALICE_KEY).signatures[0].sig
    signatures = (Signature(ROOT_KEY.public.keyid, forged),)
    with refused(Code.BAD_SIGNATURE):
        open_envelope(
            Envelope(Network.PAYLOAD_TYPE, SEALED.payload, signatures), Network, ROOT_KEY.public
        )


def test_an_envelope_without_the_key_s_signature_is_refused() -> None:
    with refused(Code.BAD_SIGNATURE):
        open_envelope(seal(NETWORK, ALICE_KEY), Network, ROOT_KEY.public)


def test_an_envelope_over_the_limit_is_not_read() -> None:
    with refused(Code.TOO_LARGE):
        Envelope.decode(b"\0" * (LIMITS.envelope_bytes + 1))


@pytest.mark.parametrize(
    "signatures",
    [
        (),
        tuple(Signature(SEALED.signatures[0].keyid, bytes([i]) * 64) for i in range(2)),
        tuple(Signature(SEALED.signatures[0].keyid, b"") for _ in range(1)),
        (Signature(ROOT_KEY.public.keyid, b"\0" * 64),) * (LIMITS.max_signatures + 1),
    ],
    ids=["none", "one key twice", "an empty one", "too many"],
)
def test_an_envelope_with_odd_signatures_is_refused(signatures: tuple[Signature, ...]) -> None:
    data = Envelope(SEALED.payload_type, SEALED.payload, signatures).encode()
    with refused(Code.MALFORMED):
        Envelope.decode(data)


def test_bytes_that_are_no_envelope_are_refused() -> None:
    with refused(Code.MALFORMED):
        Envelope.decode(b"\xff\xff\xff")


def test_an_envelope_with_an_unknown_field_is_refused() -> None:
    with refused(Code.MALFORMED):
        Envelope.decode(SEALED.encode() + b"\x7a\x01x")
