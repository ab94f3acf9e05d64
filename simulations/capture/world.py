"""What devices of a tree would send: honest updates, and those of colluders, all synthetic.

An honest update is what everyone learns in a round, plus what its subtree's domain adds, plus its
own noise. Coordinates have unequal scales and devices unequal noise, as in training. Colluders know
everything: honest means, scales, the rules and thresholds of every tier, but not the draws to come.
They push in one direction, as many standard deviations of honest noise in every coordinate as their
attack says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simulations.attacks import placement

Array = NDArray[np.float32]
Push = Callable[[Array], Array]
"""From a direction to the push that colluders make of it."""

LARGE = 10.0
"""Standard deviations: a push that nobody hides, for rules that cannot refuse it."""
UNDER = 1.6
"""The largest push that the audit's slack of 1.5 leaves unseen, where subtrees are alike."""
LITTLE = 0.43
"""The push of Baruch et al., "A Little Is Enough" (arXiv 1902.06156), for 4 of 10: Φ⁻¹(4/6)."""
PUSHES = {"large": LARGE, "under": UNDER, "little": LITTLE}


@dataclass(frozen=True)
class Shape:
    """A tree of ``fan`` subtrees with ``fan`` devices each, at a tolerance of 30 %."""

    fan: int

    @property
    def devices(self) -> int:
        """All of them."""
        return self.fan * self.fan

    @property
    def f(self) -> int:
        """How many of ``fan`` a tier tolerates: f₀ = f₁."""
        return int(0.3 * self.fan)

    @property
    def flat_f(self) -> int:
        """How many one flat federation tolerates."""
        return int(0.3 * self.devices)

    @property
    def capture(self) -> int:
        """The fewest colluders that capture the upper tier: (f₀ + 1)(f₁ + 1)."""
        return (self.f + 1) ** 2


@dataclass(frozen=True, eq=False)
class CaptureWorld:
    """One network and its rounds.

    Attributes:
        honest: for each round (n, d) float32: what each device sends, or would if it were honest.
        push: (d,) float32, added by colluders to the honest mean of their subtree.
        bad: (n,) bool: who colludes.
        home: (n,) the subtree each device belongs to.
        active: in how many rounds, from the first, colluders push; in the others they behave.
    """

    shape: Shape
    honest: tuple[Array, ...]
    push: Array
    bad: NDArray[np.bool_]
    home: NDArray[np.int64]
    active: int

    def sent(self, number: int) -> Array:
        """(n, d) what the devices send in a round."""
        honest = self.honest[number]
        sent = honest.copy()
        if number >= self.active:
            return sent
        for subtree in range(self.shape.fan):
            here = self.home == subtree
            # Colluders that have a whole subtree know what its honest mean would be.
            good = here & ~self.bad if (here & ~self.bad).any() else here
            sent[here & self.bad] = honest[good].mean(0) + self.push
        return sent

    def target(self) -> NDArray[np.float64]:
        """(d,) the sum over rounds of the mean of honest devices: what everyone aims at."""
        of_rounds = [h[~self.bad].astype(np.float64).mean(0) for h in self.honest]
        return np.asarray(np.sum(of_rounds, axis=0))


def colluders(shape: Shape, count: int, where: str) -> NDArray[np.bool_]:
    """Who colludes, (n,) bool.

    ``concentrated`` f₀ + 1 to a subtree, ``whole`` subtrees, or ``spread`` evenly over all of them.
    """
    mode: Literal["spread", "concentrated"] = "spread" if where == "spread" else "concentrated"
    tolerated = shape.fan - 1 if where == "whole" else shape.f
    return placement((shape.fan, shape.fan), count, mode, tolerated)


def make(
    shape: Shape,
    size: int,
    rounds: int,
    bad: NDArray[np.bool_],
    attack: float,
    heterogeneity: float,
    seed: int,
    craft: Push = lambda direction: direction,
    active: int | None = None,
) -> CaptureWorld:
    """Draw a world.

    Args:
        size: d.
        attack: the push, in standard deviations of a device's noise.
        heterogeneity: the norm of what sets subtrees apart, in norms of a device's noise.
        craft: what the colluders do to their direction; used by those that know the projection.
        active: see ``World``; None for all rounds.
    """
    rng = np.random.default_rng([seed, shape.fan, size])
    scales = np.exp(0.5 * rng.standard_normal(size))
    home = np.repeat(np.arange(shape.fan), shape.fan)
    domains = heterogeneity * scales * rng.standard_normal((shape.fan, size))
    noise = np.exp(0.15 * rng.standard_normal(shape.devices))
    common = scales * rng.standard_normal(size)
    honest = []
    for number in range(rounds):
        turn = scales * rng.standard_normal(size)
        learned = 0.8**number * (0.5 * common + 0.3 * turn)
        own = rng.standard_normal((shape.devices, size)) * scales * noise[:, None]
        honest.append((learned + domains[home] + own).astype(np.float32))
    direction = (scales * np.sign(rng.standard_normal(size))).astype(np.float32)
    push = craft(direction) * np.float32(attack)
    active = rounds if active is None else active
    return CaptureWorld(shape, tuple(honest), push.astype(np.float32), bad, home, active)
