"""Encode deltas and adapters: one packed array each, of a size known beforehand.

A delta is int8 with one float32 scale for every 256 values, or float32. In int8 the largest value
of a block becomes ±127; -128 is never written and never accepted. An adapter is float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocol.errors import Code, ProtocolError, Refused
from protocol.limits import LIMITS, Limits
from protocol.statements import PayloadFormat
from protocol.tensors import Expected, header_of, parse_tensors, size_of, write_tensors

Vector = NDArray[np.float32]

BLOCK: Final = 256
"""Values that share one scale."""


def encode_delta(vector: Vector, form: PayloadFormat) -> bytes:
    """Write a (d,) float32 vector. Raises ``ProtocolError`` ``not-finite``."""
    if not np.isfinite(vector).all():
        raise ProtocolError(Code.NOT_FINITE, "A delta with NaN or infinity cannot be sent.")
    if form is PayloadFormat.FLOAT32:
        return write_tensors({"theta": vector.astype("<f4", copy=False)})
    blocks = _in_blocks(vector).astype(np.float64)
    scale = (np.abs(blocks).max(axis=1, initial=0.0) / 127).astype("<f4")
    # The largest value of a block may be so small that its scale rounds to zero: then all are zero.
    divisor = np.where(scale > 0, scale.astype(np.float64), np.inf)
    q = np.clip(np.rint(blocks / divisor[:, None]), -127, 127).astype(np.int8)
    return write_tensors({"q": q.reshape(-1)[: vector.size], "scale": scale})


@dataclass(frozen=True, eq=False)
class EncodedDelta:
    """A payload that was read and checked, not decoded: its arrays are views of its bytes.

    Attributes:
        values: (d,) int8 or float32.
        scale: (ceil(d / 256),) float32, by which each block of int8 values is multiplied; None of
            float32 values.
    """

    values: NDArray[Any]
    scale: Vector | None

    def decode(self) -> Vector:
        """Return the (d,) float32 vector; every value is finite."""
        if self.scale is None:
            return self.values.astype(np.float32)
        blocks = _in_blocks(self.values.astype(np.float32)) * self.scale[:, None]
        return blocks.reshape(-1)[: self.values.size]

    def norm(self) -> float:
        """Return the length of the vector, computed in float64."""
        if self.scale is None:
            return float(np.linalg.norm(self.values.astype(np.float64)))
        blocks = _in_blocks(self.values.astype(np.float32))
        squares = np.einsum("ij,ij->i", blocks, blocks)  # below 2 ** 24: exact in float32
        return float(np.sqrt(self.scale.astype(np.float64) ** 2 @ squares.astype(np.float64)))


def read_delta(
    data: bytes, size: int, form: PayloadFormat, limits: Limits = LIMITS
) -> EncodedDelta:
    """Read a payload of ``size`` values without decoding it.

    Raises ``Refused``: what ``parse_tensors`` refuses. A scale below zero and an int8 value of
    -128 are ``bad-tensors``; a scale so large that a value overflows is ``not-finite``.
    """
    tensors = parse_tensors(data, _expected(size, form), limits)
    if form is PayloadFormat.FLOAT32:
        return EncodedDelta(tensors["theta"], None)
    q, scale = tensors["q"], tensors["scale"]
    if np.signbit(scale).any() or (q == -128).any():
        raise Refused(Code.BAD_TENSORS, "A scale is below zero, or an int8 value is -128.")
    largest = np.abs(_in_blocks(q)).max(axis=1, initial=0).astype(np.float32)
    with np.errstate(over="ignore"):
        if not np.isfinite(largest * scale).all():
            raise Refused(Code.NOT_FINITE, "A scale is so large that values overflow.")
    return EncodedDelta(q, scale)


def decode_delta(data: bytes, size: int, form: PayloadFormat, limits: Limits = LIMITS) -> Vector:
    """Read a (size,) float32 vector; every value is finite.

    Raises ``Refused`` as ``read_delta`` does.
    """
    return read_delta(data, size, form, limits).decode()


def encoded_size(size: int, form: PayloadFormat) -> int:
    """Count the bytes that ``encode_delta`` makes of ``size`` values."""
    expected = _expected(size, form)
    return len(header_of(expected)) + sum(size_of(tensor) for tensor in expected.values())


def encode_adapter(vector: Vector) -> bytes:
    """Write an adapter θ, (d,) float32. Raises ``ProtocolError`` ``not-finite``."""
    return encode_delta(vector, PayloadFormat.FLOAT32)


def decode_adapter(data: bytes, size: int, limits: Limits = LIMITS) -> Vector:
    """Read an adapter θ, (size,) float32. Raises ``Refused`` as ``decode_delta`` does."""
    return decode_delta(data, size, PayloadFormat.FLOAT32, limits)


def _expected(size: int, form: PayloadFormat) -> Expected:
    if form is PayloadFormat.FLOAT32:
        return {"theta": ("F32", (size,))}
    return {"q": ("I8", (size,)), "scale": ("F32", (-(-size // BLOCK),))}


def _in_blocks(vector: NDArray[Any]) -> NDArray[Any]:
    """(d,) as (ceil(d / 256), 256), filled up with zeros."""
    padded = np.zeros(-(-vector.size // BLOCK) * BLOCK, vector.dtype)
    padded[: vector.size] = vector
    return padded.reshape(-1, BLOCK)
