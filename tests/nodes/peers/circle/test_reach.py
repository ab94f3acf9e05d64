"""Who can be dialled: tried at once, then once a day, and never as often as a child likes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.peers.circle import reach
from nodes.peers.circle.reach import DAY_MS, SOON_S, Reach
from nodes.peers.wire.errors import PeerError
from protocol import NodeId
from tests.nodes.peers.circle.test_circle import World


class Dials:
    """Children that answer at some addresses."""

    def __init__(self, world: World) -> None:
        self.world, self.answer, self.tried, self.changes = world, {"10.0.0.8:7000"}, [], 0
        self.reach = Reach(world.keeper, self.dial, world.clock, self.changed)

    def dial(self, child: NodeId, address: str) -> None:
        self.tried.append(address)
        if address not in self.answer:
            raise PeerError("link-down", "Nobody answers.")

    def changed(self) -> None:
        self.changes += 1

    def look(self) -> None:
        """Let the loop look once."""

        class Once(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:
                looked, self.looked = getattr(self, "looked", False), True
                return looked

        self.reach.run(Once())

    tried: list[str]


@pytest.fixture
def dials(tmp_path: Path, base: Path) -> Iterator[Dials]:
    world = World(tmp_path, base)
    yield Dials(world)
    world.root.close()


def test_a_child_is_dialled_at_once_then_once_a_day(dials: Dials) -> None:
    world, ward = dials.world, dials.world.homes["ward"].id
    world.keeper.heard(ward, ["192.168.1.2:7000", "10.0.0.8:7000"], 0)
    dials.look()
    dials.look()
    assert dials.tried == ["192.168.1.2:7000", "10.0.0.8:7000"]
    assert world.keeper.contacts()[ward].dialled == ("10.0.0.8:7000",)
    assert dials.changes == 1
    world.clock.advance(DAY_MS + 1)
    dials.answer.clear()
    dials.look()
    assert len(dials.tried) == 4
    assert (world.keeper.contacts()[ward].dialled, dials.changes) == ((), 2)


def test_a_child_that_keeps_naming_other_addresses_is_not_dialled_for_each(dials: Dials) -> None:
    world, ward = dials.world, dials.world.homes["ward"].id
    for number in range(1, 20):
        world.keeper.heard(ward, [f"10.0.0.{number}:7000"], 0)
        dials.look()
        world.clock.advance(round(reach.LOOK_EVERY_S * 1000))
    assert dials.tried == ["10.0.0.1:7000"]
    world.clock.advance(round(SOON_S * 1000))
    dials.look()
    assert dials.tried[1:] == ["10.0.0.19:7000"]
