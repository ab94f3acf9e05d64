"""Attack: anything at all. Whatever arrives, the answer is a value or a refusal with a code."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import (
    Abstention,
    Certificate,
    Code,
    Envelope,
    Network,
    PayloadFormat,
    PublicKey,
    Refused,
    Release,
    Scope,
    Snapshot,
    Statement,
    Task,
    Update,
    decode_delta,
    encode_delta,
    parse_tensors,
    seal,
    verify_path,
)
from tests.protocol.world import (
    ALICE,
    ALICE_KEY,
    DELTA,
    NETWORK,
    NOW,
    PAYLOAD,
    ROOT,
    ROOT_KEY,
    TASK,
    UPDATE,
    World,
    carrying,
)

KINDS: list[type[Statement]] = [
    Network,
    Certificate,
    Task,
    Update,
    Abstention,
    Release,
    Snapshot,
]
FORMATS = {form: encode_delta(DELTA, form) for form in PayloadFormat}


@st.composite
def mutated(draw: st.DrawFn, original: bytes) -> bytes:
    """Valid bytes, damaged: some replaced, some cut out, some put in."""
    data = bytearray(original)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        cut = draw(st.sampled_from([0, 1, 1, 1, 2, 8, 40]))
        data[at : at + cut] = draw(st.binary(max_size=draw(st.sampled_from([0, 1, 1, 8]))))
    return bytes(data)


def answer(attempt: Callable[[], object]) -> Code | None:
    """The code of the refusal, None if there was none. Any other exception fails the test."""
    try:
        attempt()
    except Refused as refused:
        assert refused.sentence.endswith(".")
        return refused.code
    return None


@given(st.binary(max_size=300))
def test_random_bytes_are_refused_as_an_answer(data: bytes) -> None:
    world = World()
    assert answer(lambda: world.admit(data)) is not None
    assert answer(lambda: world.admission.admit_abstention(data, sender=ALICE.node, now_ms=NOW))


@given(mutated(seal(UPDATE, ALICE_KEY).encode()))
def test_a_damaged_envelope_is_refused_or_says_the_same(data: bytes) -> None:
    world = World()
    if answer(lambda: world.admit(data)) is None:
        assert Envelope.decode(data).digest == seal(UPDATE, ALICE_KEY).digest


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_a_statement_or_refused(kind: type[Statement], data: bytes) -> None:
    answer(lambda: kind.from_bytes(data))


@given(mutated(UPDATE.to_bytes()))
def test_a_damaged_statement_that_is_properly_signed_is_refused_or_read(data: bytes) -> None:
    # A member may sign what it likes, so what follows the signature must hold on its own.
    def sign_and_send() -> None:
        sealed = Envelope(Update.PAYLOAD_TYPE, data, ())
        World().admit(sealed.signed_also_by(ALICE_KEY).encode())

    if answer(sign_and_send) is None:
        read = Update.from_bytes(data)
        assert (read.nonce, read.task, read.payload) == (TASK.nonce, TASK.task, UPDATE.payload)


@pytest.mark.parametrize("form", list(PayloadFormat))
@given(data=st.data())
def test_a_damaged_payload_is_refused_or_finite(form: PayloadFormat, data: st.DataObject) -> None:
    payload = data.draw(mutated(FORMATS[form]))
    decoded = []
    if answer(lambda: decoded.append(decode_delta(payload, DELTA.size, form))) is None:
        assert abs(decoded[0]).max() < float("inf")


@given(mutated(PAYLOAD))
def test_a_damaged_payload_that_is_properly_signed_is_refused_or_read(payload: bytes) -> None:
    if payload:
        answer(lambda: World().admit(carrying(payload), payload))


@given(st.binary(max_size=200))
def test_random_tensors_are_refused(data: bytes) -> None:
    size = len(data).to_bytes(8, "little")
    for body in (data, size + data, size + b"{" + data):
        assert answer(lambda body=body: parse_tensors(body, {"q": ("I8", (4,))}))  # type: ignore[misc]


@given(st.binary(min_size=32, max_size=32))
def test_any_32_bytes_are_a_key_or_refused(raw: bytes) -> None:
    key: list[PublicKey] = []
    if answer(lambda: key.append(PublicKey.from_raw(raw))) is None:
        assert answer(lambda: key[0].verify(bytes(64), b"")) is Code.BAD_SIGNATURE


@pytest.mark.slow
@given(st.text(max_size=60))
def test_any_text_is_a_scope_or_refused(text: str) -> None:
    if answer(lambda: Scope.parse(text)) is None:
        assert str(Scope.parse(text)) == text


@given(mutated(seal(NETWORK, ROOT_KEY).encode()), mutated(seal(ROOT, ROOT_KEY).encode()))
def test_damaged_certificates_are_refused_or_say_the_same(network: bytes, root: bytes) -> None:
    honest = seal(NETWORK, ROOT_KEY).encode()
    verified: list[object] = []
    for pair in ((network, [seal(ROOT, ROOT_KEY).encode()]), (honest, [root])):
        if answer(lambda p=pair: verified.append(verify_path(*p, now_ms=NOW))) is None:  # type: ignore[misc]
            assert verified[-1] == (NETWORK, (ROOT,))
