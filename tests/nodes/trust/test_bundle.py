"""Claims about bundles: what is written is read again, and anything else is refused by its form."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from dataclasses import replace

import pytest

from nodes.errors import NodeError
from nodes.trust.bundle import MAX_BUNDLE_BYTES, Bundle

BUNDLE = Bundle(
    b"network", (b"root", b"child"), '{"layout": 1}', b"basis", ("host:1", "[::1]:2"), b"pem"
)


def zipped(*parts: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in parts:
            archive.writestr(name, data)
    return buffer.getvalue()


def test_a_bundle_is_read_as_it_was_written() -> None:
    assert Bundle.decode(BUNDLE.encode()) == BUNDLE


def with_link(link: bytes) -> bytes:
    """The bundle with this in place of its ``link.json``."""
    with zipfile.ZipFile(io.BytesIO(BUNDLE.encode())) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    return zipped(*(parts | {"link.json": link}).items())


def test_a_bundle_of_an_earlier_version_names_one_address() -> None:
    old = with_link(b'{"address": "host:1", "ca": "pem"}')
    assert Bundle.decode(old) == replace(BUNDLE, addresses=("host:1",))


@pytest.mark.parametrize(
    "addresses",
    [
        '["0.0.0.0:9941"]',
        '["::1:9941"]',
        '["http://gateway:99999999"]',
        '["gateway:99999"]',
        '"gateway:1"',
        "[]",
        "[1]",
        "{}",
    ],
)
def test_addresses_that_lead_nowhere_are_refused(addresses: str) -> None:
    with pytest.raises(NodeError, match=r"^bad-bundle: "):
        Bundle.decode(with_link(f'{{"addresses": {addresses}, "ca": "pem"}}'.encode()))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no zip",
        BUNDLE.encode()[:-30],
        zipped(),
        zipped(("../evil", b"")),
        zipped(("path/00.env", b"one"), ("path/01.env", b"two")).replace(b"path/01", b"path/00"),
        zipped(("network.env", bytes(10**6)), compression=zipfile.ZIP_DEFLATED),
        zipped(("link.json", b"[" * 5000)),
        zipped(("link.json", b"[]")),
        zipped(("link.json", b'{"address": 1, "ca": ""}')),
    ],
)
def test_what_is_no_bundle_is_refused(data: bytes) -> None:
    with pytest.raises(NodeError, match=r"^bad-bundle: "):
        Bundle.decode(data)


def test_an_encrypted_part_is_refused() -> None:
    data = bytearray(BUNDLE.encode())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flags of the first file
    with pytest.raises(NodeError, match="not plainly stored"):
        Bundle.decode(bytes(data))


def with_sizes(data: bytes, stored: int, whole: int) -> bytes:
    """A zip file whose list says of its first part that it has these sizes."""
    at = data.index(b"PK\x01\x02") + 20
    return data[:at] + struct.pack("<II", stored, whole) + data[at + 8 :]


LARGE = 4 << 20
PART = zipped(("basis.safetensors", bytes(LARGE)))


@pytest.mark.parametrize(
    "data",
    [
        with_sizes(PART, LARGE, 10),
        with_sizes(PART, 10, LARGE),
        with_sizes(zipped(("network.env", b"short")), 200 << 20, 200 << 20),
        b"PK\x01\x02" * 100_000 + zipped(),
        bytes(MAX_BUNDLE_BYTES + 1),
    ],
    ids=["more than it says", "less", "more than there is", "many parts", "too large"],
)
def test_a_bundle_that_lies_about_its_size_costs_no_memory(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(NodeError, match=r"^bad-bundle: "):
            Bundle.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
