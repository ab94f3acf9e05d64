"""Codec: what is packed comes back, within what int8 can hold, in the size that was foretold."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from safetensors.numpy import load

from protocol import (
    Code,
    PayloadFormat,
    ProtocolError,
    decode_adapter,
    decode_delta,
    encode_adapter,
    encode_delta,
    encoded_size,
    parse_tensors,
    write_tensors,
)

VECTORS = arrays(
    np.float32,
    st.integers(1, 600),
    elements=st.floats(-(2.0**99), 2.0**99, width=32),
)
FORMATS = list(PayloadFormat)


@given(VECTORS)
def test_float32_comes_back_bit_for_bit(vector: NDArray[np.float32]) -> None:
    data = encode_delta(vector, PayloadFormat.FLOAT32)
    back = decode_delta(data, vector.size, PayloadFormat.FLOAT32)
    assert back.tobytes() == vector.tobytes()


@given(VECTORS)
def test_int8_is_off_by_at_most_half_a_step_of_its_block(vector: NDArray[np.float32]) -> None:
    data = encode_delta(vector, PayloadFormat.INT8)
    back = decode_delta(data, vector.size, PayloadFormat.INT8)
    for start in range(0, vector.size, 256):
        block = vector[start : start + 256].astype(np.float64)
        step = np.abs(block).max() / 127
        error = np.abs(block - back[start : start + 256]).max()
        # The scale itself is rounded to float32, and cannot be smaller than a subnormal.
        assert error <= step * 0.5001 + 127 * np.finfo(np.float32).smallest_subnormal


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [1, 255, 256, 257, 300, 100_000])
def test_the_size_is_known_beforehand(size: int, form: PayloadFormat) -> None:
    vector = np.linspace(-1, 1, size, dtype=np.float32)
    assert len(encode_delta(vector, form)) == encoded_size(size, form)


@given(VECTORS)
def test_equal_vectors_make_equal_bytes(vector: NDArray[np.float32]) -> None:
    for form in FORMATS:
        assert encode_delta(vector.copy(), form) == encode_delta(vector, form)


@pytest.mark.parametrize("form", FORMATS)
def test_a_zero_delta_stays_zero(form: PayloadFormat) -> None:
    zero = np.zeros(300, np.float32)
    assert not decode_delta(encode_delta(zero, form), 300, form).any()


def test_a_block_of_zeros_does_not_disturb_its_neighbours() -> None:
    vector = np.zeros(512, np.float32)
    vector[256:] = 3.0
    back = decode_delta(encode_delta(vector, PayloadFormat.INT8), 512, PayloadFormat.INT8)
    np.testing.assert_allclose(back, vector, rtol=1e-6)


def test_the_largest_float32_survives_int8() -> None:
    vector = np.full(300, np.finfo(np.float32).max / 2, np.float32)
    back = decode_delta(encode_delta(vector, PayloadFormat.INT8), 300, PayloadFormat.INT8)
    np.testing.assert_allclose(back, vector, rtol=1e-6)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_not_sent(form: PayloadFormat, value: float) -> None:
    with pytest.raises(ProtocolError) as raised:
        encode_delta(np.array([1.0, value], np.float32), form)
    assert raised.value.code is Code.NOT_FINITE


def test_a_decoded_vector_may_be_changed() -> None:
    vector = np.ones(300, np.float32)
    for form in FORMATS:
        back = decode_delta(encode_delta(vector, form), 300, form)
        back += 1  # a view of the received bytes would be read-only
        np.testing.assert_array_equal(back, vector + 1)


def test_an_adapter_is_a_float32_delta() -> None:
    vector = np.linspace(-1, 1, 300, dtype=np.float32)
    data = encode_adapter(vector)
    assert data == encode_delta(vector, PayloadFormat.FLOAT32)
    np.testing.assert_array_equal(decode_adapter(data, 300), vector)


def test_the_safetensors_library_reads_what_is_written() -> None:
    vector = np.linspace(-1, 1, 300, dtype=np.float32)
    read = load(encode_delta(vector, PayloadFormat.INT8))
    assert {name: (array.dtype.name, array.shape) for name, array in read.items()} == {
        "q": ("int8", (300,)),
        "scale": ("float32", (2,)),
    }
    np.testing.assert_array_equal(load(encode_adapter(vector))["theta"], vector)


def test_tensors_are_aligned_to_their_type() -> None:
    data = write_tensors({"a": np.ones(3, np.int8), "b": np.ones(2, np.float32)})
    header = int.from_bytes(data[:8], "little")
    assert header % 8 == 0
    assert data[8 + header :] == np.ones(2, "<f4").tobytes() + b"\1\1\1"


def test_tensors_of_any_shape_come_back() -> None:
    tensors: dict[str, NDArray[Any]] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.zeros((0, 4), np.int8),
    }
    read = parse_tensors(write_tensors(tensors), {"a": ("F32", (2, 3)), "b": ("I8", (0, 4))})
    assert all((read[name] == tensors[name]).all() for name in tensors)
    assert read["b"].shape == (0, 4)
