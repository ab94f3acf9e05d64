"""Strict safetensors: a file holds exactly what was expected of it, or it is refused.

The header is parsed here; the library accepts duplicate keys, NaN and two hundred thousand empty
tensors. A file must hold the expected tensors and no others, with the expected types and shapes,
back to back from the first byte after the header to the last of the file. Pickle is never read.
Format: the "Format" section of the safetensors documentation.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from protocol.errors import Code, Refused
from protocol.limits import LIMITS, Limits

Arrays = dict[str, NDArray[Any]]

Expected = Mapping[str, tuple[str, tuple[int, ...]]]
"""For every tensor its safetensors type (``F32`` or ``I8``) and its shape."""

_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {"F32": np.dtype("<f4"), "I8": np.dtype("i1")}


def write_tensors(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Write float32 and int8 arrays. Equal arrays give equal bytes.

    Wide types come first, so that every tensor is aligned to its type, as the format asks.
    """
    names = {dtype: name for name, dtype in _DTYPES.items()}
    expected = {name: (names[array.dtype], array.shape) for name, array in tensors.items()}
    parts = [np.ascontiguousarray(tensors[name]).tobytes() for name in _order(expected)]
    return b"".join([header_of(expected), *parts])


def header_of(expected: Expected) -> bytes:
    """Write the header of a file with these tensors: its length, then JSON."""
    entries: dict[str, object] = {}
    at = 0
    for name in _order(expected):
        dtype, shape = expected[name]
        end = at + size_of(expected[name])
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(entries, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def size_of(tensor: tuple[str, tuple[int, ...]]) -> int:
    """The bytes that one tensor's values take."""
    dtype, shape = tensor
    return math.prod(shape) * _DTYPES[dtype].itemsize


def parse_tensors(data: bytes, expected: Expected, limits: Limits = LIMITS) -> Arrays:
    """Read exactly the expected tensors, as read-only views of ``data``.

    Raises ``Refused``: ``bad-tensors`` (another format, other names, gaps, overlaps, bytes left
    over), ``wrong-dtype``, ``wrong-shape``, ``not-finite``.
    """
    header, start = _read_header(data, limits)
    if header.keys() != expected.keys():
        _refuse(f"the file holds {_shown(header)}, expected {_shown(expected)}")
    spans = {name: _read_entry(name, header[name], expected[name]) for name in expected}
    at = 0
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if begin != at:
            _refuse(f"tensor {name} begins at byte {begin}, expected {at}: a gap or an overlap")
        at = end
    if at != len(data) - start:
        _refuse(f"the tensors take {at} bytes, the file has {len(data) - start} for them")
    arrays: Arrays = {}
    for name, (dtype, shape) in expected.items():
        count, offset = math.prod(shape), start + spans[name][0]
        array = np.frombuffer(data, _DTYPES[dtype], count, offset).reshape(shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Refused(Code.NOT_FINITE, f"Tensor {name} holds NaN or infinity.")
        arrays[name] = array
    return arrays


def _read_header(data: bytes, limits: Limits) -> tuple[dict[str, Any], int]:
    """The header, and where the values begin."""
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > len(data) - 8:
        _refuse("the file ends before its header does")
    if size > limits.tensor_header_bytes:
        _refuse(f"the header has {size} bytes, expected at most {limits.tensor_header_bytes}")
    text = data[8 : 8 + size]
    if not text.startswith(b"{"):
        _refuse("the header does not begin with {")
    try:
        header: dict[str, Any] = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_without_duplicates,
            parse_float=_no_such_number,
            parse_constant=_no_such_number,
        )
    except (ValueError, RecursionError) as error:
        _refuse(f"the header cannot be read ({str(error)[:80]})")
    return header, 8 + size


def _read_entry(name: str, entry: Any, wanted: tuple[str, tuple[int, ...]]) -> tuple[int, int]:
    """Where a tensor's values begin and end, counted from the end of the header."""
    dtype, shape = wanted
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        _refuse(f"the header gives {name} other fields than dtype, shape and data_offsets")
    if entry["dtype"] != dtype:
        raise Refused(
            Code.WRONG_DTYPE,
            f"Tensor {name} has type {str(entry['dtype'])[:20]!r}, expected {dtype}.",
        )
    if not _is_whole_list(entry["shape"]) or tuple(entry["shape"]) != shape:
        raise Refused(
            Code.WRONG_SHAPE,
            f"Tensor {name} has shape {str(entry['shape'])[:80]}, expected {list(shape)}.",
        )
    offsets = entry["data_offsets"]
    if not _is_whole_list(offsets) or len(offsets) != 2:
        _refuse(f"the data_offsets of {name} are not two positions")
    begin, end = offsets
    if begin < 0 or end - begin != size_of(wanted):
        _refuse(f"{name} lies from byte {begin} to {end}, expected {size_of(wanted)} bytes")
    return begin, end


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("it names something twice")
    return unique


def _no_such_number(text: str) -> NoReturn:
    raise ValueError(f"it holds the number {text[:20]}, which is not whole")


def _is_whole_list(value: object) -> bool:
    # A bool is an int to isinstance, and true is no position.
    return isinstance(value, list) and all(type(item) is int for item in value)


def _order(expected: Expected) -> list[str]:
    return sorted(expected, key=lambda name: (-_DTYPES[expected[name][0]].itemsize, name))


def _shown(names: Mapping[str, Any]) -> str:
    few = ", ".join(repr(name[:30]) for name in list(names)[:4]) or "nothing"
    return few + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _refuse(problem: str) -> NoReturn:
    raise Refused(Code.BAD_TENSORS, f"These are not the tensors asked for: {problem}.")
