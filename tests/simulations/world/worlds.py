"""Small worlds for tests: production nodes whose model is a point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocol import Role
from simulations.world.build import in_one_file, quiet
from simulations.world.hosts import LocalHost
from simulations.world.members import START_MS, Mail, Maker, Turn, settings
from simulations.world.places import Machine, Places, grow, scopes_of
from simulations.world.post import Delivery, Post
from simulations.world.problems import Points, PointSettings

MACHINE = Machine(rank=4)
POINT = PointSettings(size=64, rank=4)
FAN_OUT = (2, 4)


def places(fan_out: tuple[int, ...] = FAN_OUT, machine: Machine = MACHINE) -> Places:
    scopes = scopes_of(fan_out)
    count = sum(scopes.values())
    return grow(scopes, [machine] * count, [False] * count, ["plain"] * count, machine)


def maker(
    of: Places | None = None, rounds: Mapping[str, Any] | None = None, limit: int = 3
) -> Maker:
    quiet()
    of = of or places()
    config = settings({"rounds": {"f": 1, **(rounds or {})}})
    lowest = {place.id for place in of.lowest()}
    return Maker(
        places=of,
        problem=Points(of, POINT),
        seed=0,
        config_of=lambda _: config,
        storage_of=in_one_file(),
        limit_of=lambda place: limit if place.id in lowest else None,
    )


def live(
    made: Maker,
    limit: int = 3,
    lost: Callable[[Mail, int], bool] = lambda mail, now_ms: False,
    plan: Callable[[Post], None] = lambda post: None,
) -> tuple[LocalHost, Post, list[tuple[Delivery, Turn]]]:
    """Let a world live until every lowest scope has closed its rounds."""
    host = LocalHost(made.all())
    post = Post(made.places, host, START_MS, lost=lost)
    for place in made.places:
        if place.role is not Role.DEVICE:
            post.wake(place.id, START_MS)
    plan(post)
    seen: list[tuple[Delivery, Turn]] = []
    lowest = [host.members[place.id] for place in made.places.lowest()]
    post.run(
        lambda event, turn: seen.append((event, turn)),
        lambda: all(member.rounds >= limit for member in lowest),
    )
    return host, post, seen
