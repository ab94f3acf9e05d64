"""Pack Banyan's blobs into a Flower message: one array or two, and a list of what is in them.

Flower sends every array as an object of its own, one request each; so all blobs of a message are
laid end to end in a single uint8 array. What many messages have in common, such as a chain, lies in
a second one: Flower keeps equal objects once, however many messages hold them. A peer wrote the
message: ``unpack`` refuses any other form, and no library decodes an array.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Collection, Mapping

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Metadata, RecordDict

from protocol import Code, Refused

MAX_BLOBS = 64
_HEAD, _BODY, _PACKED, _SHARED = "banyan", "blobs", "packed", "shared"
_NAME = re.compile(r"[a-z0-9][a-z0-9._/-]{0,127}")
_STYPE, _DTYPE = "numpy.ndarray", "uint8"


class Packer:
    """Packs several messages; what one shares with the one before is one array in both."""

    def __init__(self) -> None:
        self._blobs: Mapping[str, bytes] = {}
        self._array: Array | None = None

    def pack(
        self, kind: str, blobs: Mapping[str, bytes], shared: Collection[str] = ()
    ) -> RecordDict:
        """Pack as ``pack`` does."""
        common = {name: blob for name, blob in blobs.items() if name in shared}
        if common and (self._array is None or common != self._blobs):
            self._blobs, self._array = common, _array_of(common)
        return _packed(kind, blobs, common, self._array)


def pack(kind: str, blobs: Mapping[str, bytes], shared: Collection[str] = ()) -> RecordDict:
    """Pack named blobs of one kind of message, in the order given, the shared ones last.

    Args:
        shared: names of blobs that other messages hold too, in the same order.

    Raises ``ValueError`` for a kind, a name or a number of blobs that ``unpack`` would refuse.
    """
    return Packer().pack(kind, blobs, shared)


def _packed(
    kind: str, blobs: Mapping[str, bytes], common: Mapping[str, bytes], array: Array | None
) -> RecordDict:
    if not _NAME.fullmatch(kind) or not all(_NAME.fullmatch(name) for name in blobs):
        raise ValueError(f"A kind and names are {_NAME.pattern}, got {kind!r} {list(blobs)}.")
    if len(blobs) > MAX_BLOBS:
        raise ValueError(f"A message holds at most {MAX_BLOBS} blobs, got {len(blobs)}.")
    own = {name: blob for name, blob in blobs.items() if name not in common}
    blobs = {**own, **common}
    arrays = {_PACKED: _array_of(own)} | ({_SHARED: array} if common and array else {})
    head = ConfigRecord(
        {
            "kind": kind,
            # Flower refuses an empty list, so names and lengths are joined into text.
            "names": " ".join(blobs),
            "lengths": " ".join(str(len(blob)) for blob in blobs.values()),
        }
    )
    return RecordDict({_HEAD: head, _BODY: ArrayRecord(arrays)})


def unpack(content: RecordDict) -> tuple[str, dict[str, bytes]]:
    """Unpack the kind and the blobs of a message.

    Raises ``Refused`` ``malformed`` for whatever ``pack`` would not have written.
    """
    head, body = content.get(_HEAD), content.get(_BODY)
    if set(content) != {_HEAD, _BODY} or not isinstance(head, ConfigRecord):
        raise _malformed("its records")
    if not isinstance(body, ArrayRecord) or set(body) not in ({_PACKED}, {_PACKED, _SHARED}):
        raise _malformed("its arrays")
    kind, names, lengths = _read_head(head)
    blobs: dict[str, bytes] = {}
    left = list(zip(names, lengths, strict=True))
    for name in (_PACKED, _SHARED):
        if name in body:
            data = _bytes_of(body[name])
            at = 0
            while left and at + left[0][1] <= len(data):
                blob, length = left.pop(0)
                blobs[blob] = bytes(data[at : at + length])
                at += length
            if at != len(data):
                raise _malformed("its lengths")
    if left:
        raise _malformed("its lengths")
    return kind, blobs


def _array_of(blobs: Mapping[str, bytes]) -> Array:
    size = sum(map(len, blobs.values()))
    data = b"".join((_npy_head(size), *blobs.values()))
    return Array(dtype=_DTYPE, shape=(size,), stype=_STYPE, data=data)


def _bytes_of(array: Array) -> memoryview:
    """Return the bytes of an array that ``_array_of`` could have made."""
    prefix_bytes = len(_npy_head(0))
    size = len(array.data) - prefix_bytes
    shape = tuple(array.shape)
    if array.dtype != _DTYPE or array.stype != _STYPE or size < 0 or shape != (size,):
        raise _malformed("its array")
    prefix = _npy_head(size)
    if len(array.data) != len(prefix) + size or not array.data.startswith(prefix):
        raise _malformed("its array's bytes")
    return memoryview(array.data)[len(prefix) :]


def _read_head(head: ConfigRecord) -> tuple[str, list[str], list[int]]:
    fields = [head.get(field) for field in ("kind", "names", "lengths")]
    if len(head) != len(fields) or not all(isinstance(field, str) for field in fields):
        raise _malformed("its head")
    kind, names, lengths = (str(field) for field in fields)
    listed, numbers = names.split(" ") if names else [], lengths.split(" ") if lengths else []
    if (
        not _NAME.fullmatch(kind)
        or len(listed) > MAX_BLOBS
        or len(listed) != len(numbers)
        or len(set(listed)) != len(listed)
        or not all(_NAME.fullmatch(name) for name in listed)
        or not all(re.fullmatch(r"0|[1-9][0-9]{0,11}", number) for number in numbers)
    ):
        raise _malformed("its head")
    return kind, listed, [int(number) for number in numbers]


def _npy_head(size: int) -> bytes:
    """Return the bytes that ``numpy.save`` writes before a uint8 array of this length."""
    buffer = io.BytesIO()
    form = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_1_0(buffer, form)
    return buffer.getvalue()


def _malformed(what: str) -> Refused:
    return Refused(Code.MALFORMED, f"This is not a Banyan message: {what} have the wrong form.")


def new_metadata(
    src: int, dst: int, kind: str, group_id: str = "", ttl: float = 1.0, reply_to: str = ""
) -> Metadata:
    """Make the metadata of a message between two Flower nodes, dated now."""
    return Metadata(
        run_id=0,  # set when it is sent
        message_id="",
        src_node_id=src,
        dst_node_id=dst,
        reply_to_message_id=reply_to,
        group_id=group_id,
        created_at=time.time(),
        ttl=ttl,
        message_type=kind,
    )
