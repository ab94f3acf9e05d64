"""What is done to a world: crashes, wrong clocks, partitions, long pauses, enemies, persons."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from protocol import LIMITS
from simulations.chaos.world import World

_SKEW_MS = 1000 * LIMITS.clock_skew_s
SKEWS_MS = (0, 5_000, -5_000, _SKEW_MS - 1, 1 - _SKEW_MS, 2 * _SKEW_MS, -2 * _SKEW_MS, 3_600_000)
"""By how much clocks are wrong: inside the protocol's limit, and beyond it."""
PAUSES_S = (30, 120, 900, 900, 7_200, 90_000, 400_000)
"""For how long nothing happens: up to beyond a deadline, an update's life, half of a snapshot's."""


def strike(world: World) -> str:
    """Do one thing to the world that its nature allows, and say what."""
    kinds = world.nature.kinds
    (kind,) = world.rng.choices(list(kinds), list(kinds.values()))
    world.counts[kind] += 1
    return f"{kind}: {FAULTS[kind](world)}"


def _crash(world: World) -> str:
    """A process will end at one of its next durable steps."""
    rng, member = world.rng, world.rng.choice(world.members)
    steps, after = min(1 + int(rng.expovariate(0.2)), 40), rng.random() < 0.5
    world.fuses[member.place.id].light(steps, after)
    return f"{member.place.name} {'after' if after else 'before'} durable step {steps}"


def _kill(world: World) -> str:
    """A process ends between two steps."""
    number = world.rng.randrange(len(world.members))
    name = world.members[number].place.name
    if number in world.down:
        return f"{name} is down"
    world.crashed(number, "between two steps")
    return name


def _skew(world: World) -> str:
    """A clock is set."""
    member, skew = world.rng.choice(world.members), world.rng.choice(SKEWS_MS)
    member.clock.skew_ms = skew
    return f"{member.place.name} by {skew} ms"


def _partition(world: World) -> str:
    """Some nodes are cut off from the others, or no more."""
    rng, links = world.rng, world.links
    if links.apart and rng.random() < 0.7:
        links.apart = frozenset()
        return "healed"
    count = rng.randint(1, len(world.members) // 2)
    links.apart = frozenset(rng.sample(range(len(world.members)), count))
    return " ".join(world.members[number].place.name for number in sorted(links.apart))


def _pause(world: World) -> str:
    """Nothing happens for so long that deadlines pass."""
    seconds = world.rng.choice(PAUSES_S)
    world.links.now_ms += 1000 * seconds
    return f"{seconds} s"


def _enemy(world: World) -> str:
    """Hostile mail."""
    made = world.enemy.strike(world.links.now_ms)
    if made is None:
        return "nothing to say yet"
    what, mail = made
    world.links.inject(mail)
    names = [world.members[number].place.name for number in (mail.sender, mail.to)]
    return f"{what}, {names[0]} to {names[1]}, {mail.task[:12]}"


def _person(world: World) -> str:
    """A person does something at a node."""
    said = world.person.act()
    world.heard()
    return said


FAULTS: Mapping[str, Callable[[World], str]] = {
    "crash": _crash,
    "kill": _kill,
    "clock": _skew,
    "partition": _partition,
    "pause": _pause,
    "enemy": _enemy,
    "person": _person,
}
"""Every kind of fault."""
