"""Claims about how bytes travel in a Flower message."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from nodes.flower.messages import MAX_BLOBS, pack, unpack
from protocol import Refused

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._/-]{0,20}", fullmatch=True)


@given(
    kind=NAMES,
    blobs=st.dictionaries(NAMES, st.binary(max_size=200), max_size=8),
    data=st.data(),
)
def test_what_is_packed_is_unpacked(
    kind: str, blobs: dict[str, bytes], data: st.DataObject
) -> None:
    shared = data.draw(st.sets(st.sampled_from(sorted(blobs)))) if blobs else set()
    read_kind, read = unpack(pack(kind, blobs, shared))
    assert (read_kind, read) == (kind, blobs)
    own = [name for name in blobs if name not in shared]
    assert list(read) == own + [name for name in blobs if name in shared]


def test_what_messages_share_is_an_array_of_its_own_and_equal() -> None:
    one, other = (
        pack("task", {"task": task, "adapter/1": b"chain"}, {"adapter/1"}).array_records["blobs"]
        for task in (b"one", b"other")
    )
    assert one["shared"].data == other["shared"].data
    assert one["packed"].data != other["packed"].data


def test_blobs_travel_as_one_ordinary_array() -> None:
    content = pack("task", {"a": b"12", "b": b"3"})
    (record,) = content.array_records.values()
    (array,) = record.values()
    assert array.numpy().tobytes() == b"123"


@pytest.mark.parametrize("name", ["", "A", "a b", "é", "a\n", "a" * 200])
def test_a_name_that_would_not_be_read_is_not_written(name: str) -> None:
    with pytest.raises(ValueError):
        pack("task", {name: b""})


def test_more_blobs_than_are_read_are_not_written() -> None:
    with pytest.raises(ValueError):
        pack("task", {f"n{i}": b"" for i in range(MAX_BLOBS + 1)})


def array(data: bytes, shape: tuple[int, ...] | None = None, dtype: str = "uint8") -> Array:
    good = Array(np.frombuffer(data, np.uint8))
    return Array(dtype, shape or good.shape, "numpy.ndarray", good.data)


def head(**changes: str) -> ConfigRecord:
    return ConfigRecord({"kind": "task", "names": "a b", "lengths": "2 1"} | changes)


def body(packed: Array | None = None) -> ArrayRecord:
    return ArrayRecord({"packed": packed or array(b"123")})


HOSTILE: dict[str, Callable[[], RecordDict]] = {
    "nothing": RecordDict,
    "no body": lambda: RecordDict({"banyan": head()}),
    "no head": lambda: RecordDict({"blobs": body()}),
    "a record more": lambda: RecordDict(
        {"banyan": head(), "blobs": body(), "x": MetricRecord({"m": 1})}
    ),
    "an array more": lambda: RecordDict(
        {"banyan": head(), "blobs": ArrayRecord({"packed": array(b"123"), "x": array(b"")})}
    ),
    "a shared array that nothing is in": lambda: RecordDict(
        {"banyan": head(), "blobs": ArrayRecord({"packed": array(b"123"), "shared": array(b"4")})}
    ),
    "a blob across both arrays": lambda: RecordDict(
        {"banyan": head(), "blobs": ArrayRecord({"packed": array(b"1"), "shared": array(b"23")})}
    ),
    "only a shared array": lambda: RecordDict(
        {"banyan": head(), "blobs": ArrayRecord({"shared": array(b"123")})}
    ),
    "a field more": lambda: RecordDict({"banyan": head(x="y"), "blobs": body()}),
    "a kind of another type": lambda: RecordDict(
        {
            "banyan": ConfigRecord({"kind": 1, "names": "a b", "lengths": "2 1"}),
            "blobs": body(),
        }
    ),
    "a bad kind": lambda: RecordDict({"banyan": head(kind="../x y"), "blobs": body()}),
    "a name twice": lambda: RecordDict({"banyan": head(names="a a"), "blobs": body()}),
    "fewer names": lambda: RecordDict({"banyan": head(names="a"), "blobs": body()}),
    "a negative length": lambda: RecordDict({"banyan": head(lengths="4 -1"), "blobs": body()}),
    "a length in other digits": lambda: RecordDict(
        {"banyan": head(lengths="2 ١"), "blobs": body()}
    ),
    "lengths that are too long": lambda: RecordDict(
        {"banyan": head(lengths="2 2"), "blobs": body()}
    ),
    "lengths that are too short": lambda: RecordDict(
        {"banyan": head(lengths="2 0"), "blobs": body()}
    ),
    "too many blobs": lambda: RecordDict(
        {
            "banyan": head(
                names=" ".join(f"n{i}" for i in range(MAX_BLOBS + 1)),
                lengths=" ".join("0" for _ in range(MAX_BLOBS + 1)),
            ),
            "blobs": body(array(b"")),
        }
    ),
    "another dtype": lambda: RecordDict(
        {"banyan": head(), "blobs": body(array(b"123", dtype="int8"))}
    ),
    "another shape": lambda: RecordDict(
        {"banyan": head(), "blobs": body(array(b"123", shape=(3, 1)))}
    ),
    "bytes after the array": lambda: RecordDict(
        {
            "banyan": head(),
            "blobs": body(Array("uint8", (3,), "numpy.ndarray", array(b"123").data + b"4")),
        }
    ),
    "an array that hides another type": lambda: RecordDict(
        {
            "banyan": head(),
            "blobs": body(Array("uint8", (3,), "numpy.ndarray", Array(np.zeros(3, np.int8)).data)),
        }
    ),
    "no numpy at all": lambda: RecordDict(
        {"banyan": head(), "blobs": body(Array("uint8", (3,), "pickle", b"123"))}
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_what_a_peer_would_not_have_packed_is_refused(hostile: str) -> None:
    with pytest.raises(Refused, match="malformed"):
        unpack(HOSTILE[hostile]())
