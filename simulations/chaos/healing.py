"""What must come of a world once its faults end: every scope learns, and all hold one chain.

All nodes come to hold the chain of their parent; a scope reaches its optimum if its pipeline
tolerates as many children as it has personal devices, and so does every personal device; no scope
is worse off than when the faults ended. (The first chain, and one in which something is undone, are
followed whatever they do.) Then persons roll every scope back to its first version: what was ever
counted is on offer again, and the same must hold once more.

Scopes above, and those of more personal devices, need not reach their optimum. Offers are
counted one after another and never anew, so a child that was once counted alone keeps a larger
part; a node that followed a chain neutrally has nothing to offer of what it got from there,
though the chain was rolled back since; and an update that was withdrawn is on offer again, though
its plain neighbours have learned the same since. How many end far from it is counted, not required.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection

from nodes.state.event_codec import events_of
from nodes.state.events import ChainInstalled
from nodes.state.vectors import sum_of
from protocol import Role
from simulations.chaos.invariants import Invariant, require
from simulations.chaos.post import CALM
from simulations.chaos.world import World

MOST, MORE = 2_000, 500
"""Things that may happen until a world must be healed, and until scopes above should be."""
DEADLINES = 8
"""Rounds that may last until their deadline meanwhile: who has answered hears of a new chain when
the next one opens, and in a large tree many things happen until then."""
EVERY = 20
"""Things that happen between two looks at whether it is."""
NEAR, FAR = 0.15, 0.3
"""How much of what there is to learn may be missing, where that is required and where not."""
NO_WORSE = 0.05
"""By which share of it a scope may become worse: gates tolerate a little."""


def heal(world: World) -> None:
    """End all faults, let persons let everybody in again, and wait until all is well, twice.

    Raises ``Broken`` if it does not become so.
    """
    world.links.weather, world.links.apart = CALM, frozenset()
    world.conduct.honest = True
    for member in world.members:
        member.clock.skew_ms = 0
        world.fuses[member.place.id].left = None
    world.person.lets_everybody_in()
    _told(world, "faults end")
    scopes = [p.id for p in world.nature.places if p.role is not Role.DEVICE]
    near = _must_learn(world)
    before = {number: (_missing(world, number), _forced(world, number)) for number in scopes}
    _require_well(world, near)
    for number, (least, forced) in before.items():
        missing, name = _missing(world, number), world.members[number].place.name
        require(
            missing <= max(least + NO_WORSE, NEAR) or _forced(world, number) > forced,
            Invariant.HEALING,
            f"{name} had {least:.3f} of its way left, then {missing:.3f}",
        )
    world.person.rolls_back_to_the_first(scopes)
    _told(world, "all scopes are rolled back")
    _require_well(world, near)
    if _wait(world, scopes, FAR, MORE):
        world.counts["worlds with a scope far from its optimum"] += 1


def _must_learn(world: World) -> list[int]:
    """Who must reach its optimum."""
    places = world.nature.places
    found = [p.id for p in places.devices if p.mode == "personal"]
    policy = world.nature.config.rounds.policy()
    for scope in places.lowest():
        modes = [place.mode for place in places.devices if place.parent == scope.id]
        if modes.count("personal") <= policy.tolerates(len(modes)):
            found.append(scope.id)
    return found


def _told(world: World, what: str) -> None:
    world.heard()
    world.trace.tell(world.links.now_ms, what)


def _require_well(world: World, numbers: Collection[int]) -> None:
    deadline_ms = world.nature.config.rounds.policy().deadline_ms
    ill = _wait(world, numbers, NEAR, MOST, world.links.now_ms + DEADLINES * deadline_ms)
    require(not ill, Invariant.HEALING, f"at the end {ill}")


def _wait(
    world: World, numbers: Collection[int], limit: float, most: int, until_ms: int = 0
) -> str:
    """Let things happen until nothing is ill; returns what still is after so many, or so long.

    Who is quarantined meanwhile is pardoned.
    """
    ill = ""
    for count in itertools.count():
        if count >= most and world.links.now_ms >= until_ms:
            break
        if count % EVERY == 0:
            if not (ill := _ill(world, numbers, limit)):
                world.counts["things until healed"] += count
                return ""
            if world.person.lets_everybody_in():
                world.heard()
        if (happening := world.links.next()) is None:
            return f"nothing happens any more, and {ill}"
        world.happen(happening)
    return ill


def _ill(world: World, numbers: Collection[int], limit: float) -> str:
    """What is not well yet, or nothing."""
    for place in world.nature.places:
        if place.parent is not None:
            above = world.watches.state(place.parent)
            chain = [*above.above.links, *([above.own.latest] if above.own.latest else [])]
            held = [link.release for link in world.watches.state(place.id).above.links]
            if held != [link.release for link in chain] or not held:
                return f"{place.name} does not hold the chain of its parent"
    for number in numbers:
        if (missing := _missing(world, number)) > limit:
            return f"{world.members[number].place.name} has {missing:.3f} of its way left"
    return ""


def _missing(world: World, number: int) -> float:
    """The share of what there is to learn that a node has not learned."""
    member = world.members[number]
    state, vector = world.watches.state(number), member.node.vector
    above = [vector(link.adapter) for link in state.above.links]
    theta = sum_of([*above, vector(state.own.adapter)])
    measured = world.nature.problem.held_out(member.place, theta)
    best = measured.best or 0.0
    return (measured.loss - best) / (measured.base - best)


def _forced(world: World, number: int) -> int:
    """How many chains a scope had to follow whatever they did: its first, and those that undo."""
    chains = events_of(world.disks[number].ledger, ChainInstalled)
    undone = [chain.undone for chain in chains if isinstance(chain, ChainInstalled)]
    return bool(undone) + sum(bool(past and past.installs) for past in undone)
