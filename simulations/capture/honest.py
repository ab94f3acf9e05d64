"""False alarms: what the audit says of trees without a single colluder.

Each kind of tree is unlike the plain one in one respect in which honest devices differ. What is
counted is every code of a verdict, and how many subtrees are left out for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.table import Table

from simulations.capture.tree import DEFENCES, grow, upper
from simulations.capture.world import Array, Shape, colluders, make
from simulations.tables import table

REHEARSAL = 0.2


@dataclass(frozen=True, eq=False)
class Crowd:
    """The honest devices of one round, to be made unlike each other: updates (n, d), changed in
    place, ``fan`` to a subtree; ``spread`` is the norm of a usual device's noise."""

    updates: Array
    fan: int
    spread: float
    rng: np.random.Generator

    def subtrees(self, count: int) -> list[Array]:
        """The first ``count`` subtrees, views of (m, d)."""
        return [self.updates[i * self.fan : (i + 1) * self.fan] for i in range(count)]

    def elsewhere(self) -> Array:
        """(d,) another domain: three norms of a device's noise away."""
        size = self.updates.shape[1]
        away = self.rng.standard_normal(size) * 3 * self.spread / np.sqrt(size)
        return np.asarray(away, np.float32)

    def move(self, count: int, *, together: bool = False, every: int = 1) -> None:
        """Take the first ``count`` subtrees, of each every so many-th device, to other domains:
        each to its own, or all to one."""
        away = self.elsewhere() if together else None
        for rows in self.subtrees(count):
            rows[::every] += self.elsewhere() if away is None else away

    def stretch(self, rows: Array, by: float | Array) -> None:
        """Multiply the noise of some devices."""
        middle = self.updates.mean(0)
        rows[...] = middle + (rows - middle) * by

    def stretch_unequally(self, sigma: float) -> None:
        """Multiply the noise of every device by its own log-normal factor."""
        by = np.exp(sigma * self.rng.standard_normal((len(self.updates), 1)))
        self.stretch(self.updates, by.astype(np.float32))


KINDS: Mapping[str, Callable[[Crowd], None]] = {
    "alike": lambda _: None,
    "every subtree its own domain": lambda crowd: crowd.move(crowd.fan),
    "one subtree of another domain": lambda crowd: crowd.move(1),
    "three subtrees of other domains": lambda crowd: crowd.move(3),
    "two domains, half of the subtrees each": lambda crowd: crowd.move(
        crowd.fan // 2, together=True
    ),
    "two domains within every subtree": lambda crowd: crowd.move(crowd.fan, every=2),
    "two domains within one subtree": lambda crowd: crowd.move(1, every=2),
    "one subtree with 1.4 times the noise": lambda crowd: crowd.stretch(crowd.subtrees(1)[0], 1.4),
    "one subtree with twice the noise": lambda crowd: crowd.stretch(crowd.subtrees(1)[0], 2.0),
    "noise of devices unequal, σ of its logarithm 0.3": lambda crowd: crowd.stretch_unequally(0.3),
    "the same, 0.5": lambda crowd: crowd.stretch_unequally(0.5),
    "the same, 0.8": lambda crowd: crowd.stretch_unequally(0.8),
}


@dataclass(frozen=True)
class Alarms:
    """Over all seeds: how many subtrees had which code, and how many did not count."""

    tree: str
    kind: str
    codes: Mapping[str, int]
    subtrees: int
    left_out: int


def measure(*, size: int = 5_000, seeds: int = 10) -> list[Alarms]:
    """Audit honest trees of every kind; odd seeds have three rounds with rehearsal in between."""
    alarms = []
    for fan in (10, 5):
        for kind, change in KINDS.items():
            codes, left_out = Counter[str](), 0
            for seed in range(seeds):
                rounds = 1 + 2 * (seed % 2)
                shape, rng = Shape(fan), np.random.default_rng([seed, 2])
                world = make(shape, size, rounds, colluders(shape, 0, "spread"), 1.0, 0.0, seed)
                honest = tuple(updates.copy() for updates in world.honest)
                for updates in honest:
                    apart = np.linalg.norm(updates - updates.mean(0), axis=1)
                    change(Crowd(updates, fan, float(apart.mean()), rng))
                tiers = grow(
                    replace(world, honest=honest), REHEARSAL if rounds > 1 else 0.0, rng, False
                )
                made = upper(tiers, shape, DEFENCES["audit"], rng.bytes(32))
                assert made.audit is not None  # noqa: S101  the defence is an audit
                codes.update(v.code for v in made.audit.verdicts)
                left_out += fan - made.counted
            alarms.append(Alarms(f"{fan}×{fan}", kind, dict(codes), fan * seeds, left_out))
    return alarms


def tables(alarms: Sequence[Alarms]) -> Iterator[Table]:
    """All of it, where there is any."""
    if alarms:
        rows = []
        for alarm in alarms:
            codes = ", ".join(f"{count} {code}" for code, count in sorted(alarm.codes.items()))
            rows.append((alarm.tree, alarm.kind, codes, f"{alarm.left_out}/{alarm.subtrees}"))
        columns = ("tree", "honest devices", "verdicts", "left out")
        yield table("Honest trees", columns, rows, left=columns)
