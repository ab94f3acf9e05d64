"""Attack: enrol a key for which one signature holds for many messages.

The points of small order are computed here from the curve, not copied from the list they test.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from protocol import Code, PublicKey, SigningKey, check_certificate, seal, verify_path
from protocol.identity import SMALL_ORDER_Y
from tests.protocol.world import (
    ALICE,
    NETWORK,
    NOW,
    PARENT,
    ROOT,
    ROOT_KEY,
    refused,
)

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def add(one: Point, other: Point) -> Point:
    """The Edwards addition law of RFC 8032, section 5.1.4, in affine coordinates."""
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P
    return x, y


def times(factor: int, point: Point) -> Point:
    result = (0, 1)
    for bit in f"{factor:b}":
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def points() -> Iterator[Point]:
    """Points of the curve, found by trying y = 2, 3, 4 …"""
    for y in range(2, 100):
        square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
        x = pow(square, (P + 3) // 8, P)
        for root in (x, x * pow(2, (P - 1) // 4, P) % P):
            if root * root % P == square:
                yield root, y


def small_order_points() -> set[Point]:
    """The eight points T with 8·T = 0: L times any point, and its multiples."""
    for point in points():
        torsion = times(L, point)
        if times(4, torsion) != (0, 1):
            return {times(i, torsion) for i in range(8)}
    raise AssertionError("no point of order 8 found")


def encodings(point: Point) -> Iterator[bytes]:
    """Every 32 bytes that some library reads as this point: y or y + p, either sign bit."""
    _, y = point
    for value in (y, y + P):
        if value < 2**255:
            for sign in (0, 1):
                yield (value | sign << 255).to_bytes(32, "little")


TORSION = small_order_points()
WEAK = sorted({raw for point in TORSION for raw in encodings(point)})


def test_there_are_eight_points_of_small_order_with_fourteen_encodings() -> None:
    assert len(TORSION) == 8
    assert all(times(8, point) == (0, 1) for point in TORSION)
    assert len(WEAK) == 14


def test_the_list_is_complete_and_holds_nothing_else() -> None:
    assert {int.from_bytes(raw, "little") % 2**255 for raw in WEAK} == SMALL_ORDER_Y


@pytest.mark.parametrize("raw", WEAK, ids=bytes.hex)
def test_a_key_of_small_order_is_refused(raw: bytes) -> None:
    """The library takes them: under the identity one signature holds for every message."""
    with refused(Code.WEAK_KEY):
        PublicKey.from_raw(raw)


@pytest.mark.parametrize("offset", range(19))
@pytest.mark.parametrize("sign", [0, 1])
def test_a_key_that_is_not_canonically_written_is_refused(offset: int, sign: int) -> None:
    raw = (P + offset | sign << 255).to_bytes(32, "little")
    with refused(Code.WEAK_KEY):
        PublicKey.from_raw(raw)


def test_honest_keys_are_never_refused() -> None:
    for _ in range(200):
        SigningKey.generate()


@pytest.mark.parametrize("raw", WEAK, ids=bytes.hex)
def test_a_node_with_a_weak_key_is_not_enrolled(raw: bytes) -> None:
    weak = replace(ALICE, public_key=raw, key_epoch=2)
    with refused(Code.WEAK_KEY):
        check_certificate(weak, NETWORK, PARENT)


def test_a_path_through_a_weak_key_is_refused() -> None:
    weak = replace(PARENT, public_key=WEAK[0], key_epoch=2)
    envelopes = [seal(ROOT, ROOT_KEY).encode(), seal(weak, ROOT_KEY).encode()]
    with refused(Code.WEAK_KEY):
        verify_path(seal(NETWORK, ROOT_KEY).encode(), envelopes, now_ms=NOW)


def test_a_network_with_a_weak_root_key_is_refused() -> None:
    weak = replace(NETWORK, root_key=WEAK[1])
    with refused(Code.WEAK_KEY):
        verify_path(seal(weak, ROOT_KEY).encode(), [], now_ms=NOW)
