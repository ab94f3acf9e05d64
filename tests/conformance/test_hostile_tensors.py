"""Attack: a payload that is signed and delivered properly, and is not what was asked for."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from protocol import Code, PayloadFormat, decode_delta, encode_delta, parse_tensors, write_tensors
from protocol.errors import Refused
from tests.protocol.world import DELTA, PAYLOAD, RANK, World, carrying, refused, size_at

D = size_at(RANK)
BLOCKS = -(-D // 256)
Q = np.ones(D, np.int8)
SCALE = np.full(BLOCKS, 1e-3, np.float32)


def admit(payload: bytes) -> None:
    World().admit(carrying(payload), payload)


def with_header(header: str | bytes, body: bytes = b"") -> bytes:
    text = header.encode() if isinstance(header, str) else header
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype: str, shape: list[Any], begin: Any, end: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


BODY = SCALE.tobytes() + Q.tobytes()
HONEST = {
    "scale": entry("F32", [BLOCKS], 0, 4 * BLOCKS),
    "q": entry("I8", [D], 4 * BLOCKS, 4 * BLOCKS + D),
}


def changed(name: str, **changes: Any) -> bytes:
    return with_header(json.dumps(HONEST | {name: HONEST[name] | changes}), BODY)


def test_the_payload_these_attacks_start_from_is_honest() -> None:
    payload = with_header(json.dumps(HONEST), BODY)
    admitted = World().admit(carrying(payload), payload)
    np.testing.assert_allclose(admitted.values, np.full(D, SCALE[0]), rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_scale_that_is_not_finite_is_refused(value: float) -> None:
    scale = SCALE.copy()
    scale[-1] = value
    with refused(Code.NOT_FINITE):
        admit(write_tensors({"q": Q, "scale": scale}))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_float32_value_that_is_not_finite_is_refused(value: float) -> None:
    theta = DELTA.copy()
    theta[17] = value
    with refused(Code.NOT_FINITE):
        decode_delta(write_tensors({"theta": theta}), D, PayloadFormat.FLOAT32)


def test_a_scale_so_large_that_values_overflow_is_refused() -> None:
    scale = np.full(BLOCKS, np.finfo(np.float32).max, np.float32)
    with refused(Code.NOT_FINITE):
        admit(write_tensors({"q": Q * 2, "scale": scale}))


@pytest.mark.parametrize("value", [-1e-3, -0.0])
def test_a_scale_below_zero_is_refused(value: float) -> None:
    with refused(Code.BAD_TENSORS):
        admit(write_tensors({"q": Q, "scale": np.full(BLOCKS, value, np.float32)}))


def test_the_int8_value_that_no_encoder_writes_is_refused() -> None:
    with refused(Code.BAD_TENSORS):
        admit(write_tensors({"q": np.full(D, -128, np.int8), "scale": SCALE}))


def test_a_delta_that_would_take_over_the_mean_is_refused() -> None:
    with refused(Code.NORM_TOO_LARGE):
        admit(encode_delta(DELTA * 1e6, PayloadFormat.INT8))


@pytest.mark.parametrize("size", [D - 1, D + 1, 2 * D, 1])
def test_a_delta_of_another_length_is_refused(size: int) -> None:
    with refused(Code.WRONG_SHAPE):
        admit(encode_delta(np.ones(size, np.float32), PayloadFormat.INT8))


def test_a_delta_in_another_shape_is_refused() -> None:
    with refused(Code.WRONG_SHAPE):
        admit(write_tensors({"q": Q.reshape(-1, 2), "scale": SCALE}))


def test_a_delta_in_the_other_format_is_refused() -> None:
    with refused(Code.BAD_TENSORS):
        admit(encode_delta(DELTA, PayloadFormat.FLOAT32))


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (changed("q", dtype="U8"), Code.WRONG_DTYPE),
        (changed("q", dtype="BF16"), Code.WRONG_DTYPE),
        (changed("q", dtype=None), Code.WRONG_DTYPE),
        (changed("q", shape=[D, 1]), Code.WRONG_SHAPE),
        (changed("q", shape=[float(D)]), Code.BAD_TENSORS),
        (changed("q", shape=D), Code.WRONG_SHAPE),
        (changed("q", data_offsets=[0, D]), Code.BAD_TENSORS),
        (changed("q", data_offsets=[4 * BLOCKS + 1, 4 * BLOCKS + 1 + D]), Code.BAD_TENSORS),
        (changed("q", data_offsets=[-D, 0]), Code.BAD_TENSORS),
        (changed("q", data_offsets=[4 * BLOCKS, 4 * BLOCKS]), Code.BAD_TENSORS),
        (changed("q", data_offsets=[4 * BLOCKS]), Code.BAD_TENSORS),
        (changed("q", data_offsets=None), Code.BAD_TENSORS),
        (changed("q", data_offsets=[2**70, 2**70 + D]), Code.BAD_TENSORS),
        (changed("q", more=1), Code.BAD_TENSORS),
        (with_header(json.dumps(HONEST), BODY + b"\0"), Code.BAD_TENSORS),
        (with_header(json.dumps(HONEST), BODY[:-1]), Code.BAD_TENSORS),
        (with_header(json.dumps({**HONEST, "extra": HONEST["q"]}), BODY), Code.BAD_TENSORS),
        (with_header(json.dumps({**HONEST, "__metadata__": {}}), BODY), Code.BAD_TENSORS),
        (with_header(json.dumps({"q": HONEST["q"]}), BODY), Code.BAD_TENSORS),
        (with_header(json.dumps({**HONEST, "q": []}), BODY), Code.BAD_TENSORS),
        (with_header(" " + json.dumps(HONEST), BODY), Code.BAD_TENSORS),
        (with_header("[]", BODY), Code.BAD_TENSORS),
        (with_header("{}", b""), Code.BAD_TENSORS),
        (with_header("{", BODY), Code.BAD_TENSORS),
        (with_header(b'{"\xff":0}', BODY), Code.BAD_TENSORS),
        (with_header('{"q":NaN}', BODY), Code.BAD_TENSORS),
        (with_header('{"q":' + "1" * 5000 + "}", BODY), Code.BAD_TENSORS),
        (with_header('{"q":' + "[" * 200_000 + "}", BODY), Code.BAD_TENSORS),
        (with_header('{"q":' * 40_000, BODY), Code.BAD_TENSORS),
        (b"\0", Code.BAD_TENSORS),
        (b"\xff" * 8, Code.BAD_TENSORS),
        (pickle.dumps([1.0] * 100), Code.BAD_TENSORS),
    ],
)
def test_a_file_that_is_not_exactly_what_was_asked_for_is_refused(
    payload: bytes, code: Code
) -> None:
    with refused(code):
        admit(payload)


@pytest.mark.parametrize("name", ["q", "dtype"])
def test_a_header_that_names_something_twice_is_refused(name: str) -> None:
    text = json.dumps(HONEST).replace(f'"{name}":', f'"{name}": 0, "{name}":', 1)
    with refused(Code.BAD_TENSORS):
        admit(with_header(text, BODY))


def test_two_hundred_thousand_empty_tensors_are_not_even_looked_at() -> None:
    empty = json.dumps(entry("F32", [0], 0, 0))
    payload = with_header("{" + ",".join(f'"t{i}":{empty}' for i in range(200_000)) + "}")
    with refused(Code.PAYLOAD_TOO_LARGE):
        admit(payload)
    with refused(Code.BAD_TENSORS):
        parse_tensors(payload, {})


def test_a_header_over_256_kib_is_refused_although_it_is_padding() -> None:
    padded = json.dumps(HONEST) + " " * (256 * 1024)
    with refused(Code.BAD_TENSORS):
        parse_tensors(with_header(padded, BODY), {"q": ("I8", (D,)), "scale": ("F32", (BLOCKS,))})


def test_true_and_false_are_no_sizes_and_no_positions() -> None:
    one = {"q": ("I8", (1,))}
    for fake in (entry("I8", [True], 0, 1), entry("I8", [1], False, True)):
        with pytest.raises(Refused):
            parse_tensors(with_header(json.dumps({"q": fake}), b"\1"), one)


def test_overlapping_tensors_are_refused() -> None:
    header = {"a": entry("F32", [2], 0, 8), "b": entry("F32", [2], 4, 12)}
    with refused(Code.BAD_TENSORS):
        parse_tensors(
            with_header(json.dumps(header), bytes(12)), {"a": ("F32", (2,)), "b": ("F32", (2,))}
        )


def test_a_payload_other_than_the_signed_one_is_refused() -> None:
    other = encode_delta(-DELTA, PayloadFormat.INT8)
    assert len(other) == len(PAYLOAD)
    with refused(Code.WRONG_DIGEST):
        World().admit(carrying(PAYLOAD), other)


@pytest.mark.parametrize("payload", [PAYLOAD[:-1], PAYLOAD + b"\0", b""])
def test_a_payload_that_is_not_as_long_as_declared_is_refused(payload: bytes) -> None:
    with refused(Code.WRONG_LENGTH):
        World().admit(carrying(PAYLOAD), payload)


def test_a_bad_payload_spends_the_one_answer_to_its_task() -> None:
    with pytest.raises(Refused) as raised:
        admit(b"rubbish")
    assert raised.value.claims
