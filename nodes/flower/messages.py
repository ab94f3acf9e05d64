"""Banyan's parts inside Flower's messages: a kind, and named blobs as one packed uint8 array.

Flower sends every array as an object of its own, so many small arrays cost seconds and one packed
array does not. Strict on what it accepts; what the blobs mean is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from protocol import LIMITS, Code, Refused

MAX_BLOBS = 128
_RECORD, _ARRAY = "banyan", "blobs"


def pack(kind: str, blobs: Mapping[str, bytes]) -> RecordDict:
    """Put named blobs into a message's content."""
    data = np.frombuffer(b"".join(blobs.values()), np.uint8)
    index = json.dumps([[name, len(blob)] for name, blob in blobs.items()])
    return RecordDict(
        {
            _RECORD: ConfigRecord({"kind": kind, "index": index}),
            _ARRAY: ArrayRecord({_ARRAY: Array(data)}),
        }
    )


def unpack(content: RecordDict) -> tuple[str, dict[str, bytes]]:
    """Take kind and blobs out of a message's content.

    Raises ``Refused`` ``malformed`` for anything that ``pack`` would not have made, ``too-large``.
    """
    try:
        record, arrays = content[_RECORD], content[_ARRAY]
        if not isinstance(record, ConfigRecord) or not isinstance(arrays, ArrayRecord):
            raise TypeError("other records")
        kind, index = record["kind"], json.loads(str(record["index"]))
        array = arrays[_ARRAY]
        if array.dtype != "uint8" or len(array.shape) != 1 or len(arrays) != 1:
            raise TypeError("other arrays")
        data = array.numpy().tobytes()
        sizes = {str(name): int(size) for name, size in index}
        if (
            not isinstance(kind, str)
            or len(sizes) != len(index)
            or min(sizes.values(), default=0) < 0
        ):
            raise ValueError("index")
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Refused(Code.MALFORMED, "The message does not hold what a peer sends.") from None
    if len(sizes) > MAX_BLOBS or len(data) > LIMITS.payload_bytes:
        raise Refused(Code.TOO_LARGE, f"The message holds {len(sizes)} parts, {len(data)} bytes.")
    if sum(sizes.values()) != len(data):
        raise Refused(Code.MALFORMED, "The message's parts do not add up to its length.")
    blobs: dict[str, bytes] = {}
    at = 0
    for name, size in sizes.items():
        blobs[name] = data[at : at + size]
        at += size
    return kind, blobs
