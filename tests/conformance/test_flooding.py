"""Attack: send more than is reasonable. What is too large is refused before it is read."""

from protocol import LIMITS, Code, Envelope, Update
from protocol.envelope import Signature
from tests.protocol.world import ALICE, ALICE_KEY, NOW, World, carrying, refused

SIGNATURE = Signature(ALICE_KEY.public.keyid, bytes(64))


def test_an_answer_over_the_size_limit_is_refused() -> None:
    with refused(Code.TOO_LARGE):
        World().admit(bytes(LIMITS.answer_bytes + 1))


def test_an_answer_as_large_as_the_limit_is_read() -> None:
    with refused(Code.MALFORMED):
        World().admit(bytes(LIMITS.answer_bytes))


def test_an_abstention_over_the_size_limit_is_refused() -> None:
    with refused(Code.TOO_LARGE):
        World().admission.admit_abstention(
            bytes(LIMITS.answer_bytes + 1), sender=ALICE.node, now_ms=NOW
        )


def test_a_payload_over_the_size_limit_is_refused_before_the_envelope_is_read() -> None:
    with refused(Code.PAYLOAD_TOO_LARGE):
        World().admit(b"\xff rubbish", bytes(LIMITS.payload_bytes + 1))


def test_a_payload_far_larger_than_its_task_needs_is_refused() -> None:
    payload = bytes(2 * 1024 * 1024)
    with refused(Code.PAYLOAD_TOO_LARGE):
        World().admit(carrying(payload), payload)


def test_an_envelope_with_hundreds_of_signatures_is_refused() -> None:
    many = Envelope(Update.PAYLOAD_TYPE, b"", (SIGNATURE,) * 100).encode()
    assert len(many) < LIMITS.answer_bytes
    with refused(Code.MALFORMED):
        World().admit(many)
