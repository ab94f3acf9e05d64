"""Running one world: step by step, with what must hold checked after each, until it has healed.

A step is one thing that happens: mail arrives, time passes at a node, or a fault is done to the
world. Everything follows from the seed, so a step that breaks an invariant can be seen again.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from simulations.chaos import faults, healing
from simulations.chaos.invariants import SENTENCES, Broken, Invariant
from simulations.chaos.world import World

ANEW_EVERY = 50
"""Steps between two nodes whose ledgers are folded from the start."""


@dataclass(frozen=True)
class Failure:
    """What broke, and where."""

    seed: int
    step: int
    invariant: str
    sentence: str
    what: str
    trace: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class Result:
    """How one world went.

    Attributes:
        digest: of the whole trace.
        counts: what happened how often.
        crashes: at which durable steps processes ended.
    """

    seed: int
    steps: int
    digest: str
    failure: Failure | None
    counts: dict[str, int]
    crashes: dict[str, int]
    seconds: float


def step(world: World) -> None:
    """One step: a fault, or the next thing in the queue."""
    faulty = world.rng.random() < world.nature.faults
    happening = None if faulty else world.links.next()
    if happening is None:
        world.trace.tell(world.links.now_ms, faults.strike(world))
    else:
        world.happen(happening)
    if world.trace.steps % ANEW_EVERY == 0:
        world.watches.check_anew(world.trace.steps // ANEW_EVERY % len(world.members))


def _broken(world: World, steps: int) -> Broken | None:
    """Let a world go through its steps and heal; returns what broke."""
    try:
        for _ in range(steps):
            step(world)
        world.watches.check_all_anew()
        healing.heal(world)
        world.watches.check_all_anew()
    except Broken as broken:
        return broken
    except Exception as error:  # the simulator's own: its seed must be told as well
        return Broken(Invariant.NO_ERROR, f"in the simulator: {type(error).__name__}: {error}")
    return None


def run(seed: int, steps: int) -> Result:
    """Run one world and say how it went.

    Args:
        steps: how many, before it heals.
    """
    started = time.perf_counter()
    world = World(seed, tuple(faults.FAULTS))
    failure: Failure | None = None
    try:
        broken = _broken(world, steps)
        if broken is not None:
            failure = Failure(
                seed=seed,
                step=world.trace.steps + 1,
                invariant=broken.invariant.value,
                sentence=SENTENCES[broken.invariant],
                what=broken.what,
                trace=world.trace.last,
                command=f"banyan sim chaos --seed {seed} --steps {steps}",
            )
        counts = world.counts + world.links.counts + world.watches.counts()
        crashes: Counter[str] = sum((f.crashes for f in world.fuses.values()), Counter())
        crashes += world.person.fuse.crashes
        return Result(
            seed=seed,
            steps=world.trace.steps,
            digest=world.trace.digest,
            failure=failure,
            counts=dict(sorted(counts.items())),
            crashes=dict(sorted(crashes.items())),
            seconds=time.perf_counter() - started,
        )
    finally:
        world.close()
