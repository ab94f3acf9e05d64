"""Candidates made from what the gate's verdicts tell about its probes.

The attacker has ``ROUNDS`` directions without any true gain: each moves every probe up or down at
random. Round after round it sends one and learns one bit; then it adds all directions up, each with
the sign that its bit suggests. The bit is the most telling that there is: whether that direction's
mean gain on the drawn probes is above zero. (A verdict tells that only if the attacker mixes in a
true gain that brings it to the edge of passing, and knows how large that must be.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aggregation.gate import Budget, Policy, Reuse, log10_e
from aggregation.gate.draw import choose, is_dry

ROUNDS, SD = 200, 0.1
NEVER, AGAIN = Policy(reuse=Reuse.NEVER), Policy(reuse=Reuse.WHEN_DRY)
UNLIMITED = replace(NEVER, retire_after=10 * ROUNDS)


@dataclass(frozen=True)
class Adaptive:
    """How far a candidate gets that was built from bits.

    Attributes:
        way: how the probes of a gate are drawn, out of ``pool``.
        bits: learned before the probes ran out, mean.
        seen: its mean gain on the next draw, in standard errors; None if there is no next draw.
        gate: how often it passes this gate, at its test 201 with every fifth promoted.
        fixed_level: how often e ≥ 20.
        not_worse: how often its mean gain is at least 0.
    """

    way: str
    pool: int
    bits: float
    seen: float | None
    gate: float | None
    fixed_level: float | None
    not_worse: float | None


def adaptive(
    repeats: int, rng: np.random.Generator, pools: tuple[int, ...] = (512, 2048, 8192)
) -> list[Adaptive]:
    """Every way to draw, on every pool."""
    ways = {
        "fresh each time, without retirement": UNLIMITED,
        "this gate, retired stay so": NEVER,
        "this gate, reuse when dry": AGAIN,
    }
    rows = [
        attack("unknown to the attacker (chance)", AGAIN.size, AGAIN, repeats, rng, blind=True),
        attack("one fixed set", AGAIN.size, UNLIMITED, repeats, rng),
    ]
    for pool in pools:
        rows += [attack(way, pool, policy, repeats, rng) for way, policy in ways.items()]
    return rows


def attack(
    way: str,
    pool: int,
    policy: Policy,
    repeats: int,
    rng: np.random.Generator,
    *,
    blind: bool = False,
) -> Adaptive:
    """Play it ``repeats`` times; a ``blind`` attacker throws coins in place of bits."""
    bits, gains = [], []
    for _ in range(repeats):
        learned, seen = _play(pool, policy, rng, blind)
        bits.append(learned)
        if seen is not None:
            gains.append(seen)
    if len(gains) < repeats:
        return Adaptive(way, pool, float(np.mean(bits)), None, None, None, None)
    of = np.stack(gains)
    e = log10_e(of, policy.bound, policy.correlation)
    level = Budget(ROUNDS, ROUNDS // 5).level(policy.alpha)
    errors = of.std(-1, ddof=1) / np.sqrt(of.shape[1])
    return Adaptive(
        way, pool, float(np.mean(bits)), float((of.mean(-1) / errors).mean()),
        float((e >= -np.log10(level)).mean()), float((e >= -np.log10(policy.alpha)).mean()),
        float((of.mean(-1) >= 0).mean()),
    )  # fmt: skip


def _play(
    pool: int, policy: Policy, rng: np.random.Generator, blind: bool
) -> tuple[int, NDArray[np.float64] | None]:
    """How many bits one attacker learned, and (k,) gains on the draw after; None if there is none.

    What a direction does to a probe is one of (pool, rounds) normal values.
    """
    effects = rng.standard_normal((ROUNDS, pool), dtype=np.float32)
    signs = np.where(rng.random(ROUNDS) < 0.5, 1.0, -1.0)
    uses = np.zeros(pool, np.int64)
    for number in range(ROUNDS):
        if is_dry(uses, policy) and policy.reuse is Reuse.NEVER:
            return number, None
        drawn = choose(uses, policy.size, rng, policy)
        uses[drawn] += 1
        if not blind:
            signs[number] = 1 if effects[number, drawn].mean() > 0 else -1
    if is_dry(uses, policy) and policy.reuse is Reuse.NEVER:
        return ROUNDS, None
    drawn = choose(uses, policy.size, rng, policy)
    return ROUNDS, SD / np.sqrt(ROUNDS) * (signs @ effects[:, drawn].astype(np.float64))
