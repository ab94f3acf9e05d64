"""Trees on paper."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from protocol import Role
from simulations.world.places import Machine, Places, grow, scopes_of

MACHINE = Machine(rank=4)


def tree(*fan_out: int) -> Places:
    scopes = scopes_of(fan_out)
    count = sum(scopes.values())
    return grow(scopes, [MACHINE] * count, [False] * count, ["plain"] * count, MACHINE)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_regular_tree_has_what_its_fan_out_says(fan_out: list[int]) -> None:
    places = tree(*fan_out)
    assert len(places.devices) == math.prod(fan_out)
    assert len(places.lowest()) == math.prod(fan_out[:-1])
    for place in places:
        assert (place.parent is None) == (place.role is Role.ROOT)
        assert place.parent is None or place.parent < place.id
        if place.role is Role.DEVICE:
            assert place.parent is not None
            assert places[place.parent].scope == place.scope
    for number, children in places.children().items():
        assert len(children) == fan_out[places[number].scope.tier]


def test_scopes_may_be_named_and_their_parents_left_out() -> None:
    places = grow(
        {"/en/heart": 2, "/": 1}, [MACHINE] * 3, [True, False, False], ["plain"] * 3, MACHINE
    )
    assert [p.name for p in places] == [
        "/",
        "/en",
        "/en/heart",
        "device-3",
        "device-4",
        "device-5",
    ]
    assert [p.tier for p in places][:3] == ["root", "language", "domain"]
    assert [p.attacker for p in places.devices] == [True, False, False]
    assert [p.parent for p in places.devices] == [0, 2, 2]
