"""Candidates made from what the gate's verdicts tell about its probes.

The attacker has ``ROUNDS`` directions without any true gain: each moves every probe up or down at
random. Round after round it sends one and learns one bit; then it adds all directions up, each with
the sign that its bit suggests. The bit is the gate's verdict, or the most telling that there is:
whether that direction's mean gain on the drawn probes is above zero. (A verdict tells that only if
the attacker mixes in a true gain that brings it to the edge of passing, and knows how large.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from aggregation.gate import Budget, GatePolicy, Reuse, log10_e
from aggregation.gate.draw import choose, is_dry

ROUNDS, SD = 200, 0.1
NEVER, AGAIN = GatePolicy(reuse=Reuse.NEVER), GatePolicy(reuse=Reuse.WHEN_DRY)
UNLIMITED = replace(NEVER, retire_after=10 * ROUNDS)


class Bit(StrEnum):
    """What the attacker learns of a candidate."""

    NOTHING = "none"
    VERDICT = "verdict"
    TELLING = "most telling"


@dataclass(frozen=True)
class Adaptive:
    """How far a candidate gets that was built from bits.

    Attributes:
        way: how the probes of a gate are drawn, out of ``pool``.
        bit: what it learned each time.
        bits: how many before the probes ran out, mean.
        seen: its mean gain on the next draw, in standard errors; None if there is no next draw.
        gate: how often it passes this gate, at its test 201 with every fifth promoted.
        fixed_level: how often e ≥ 20.
        not_worse: how often its mean gain is at least 0.
    """

    way: str
    pool: int
    bit: Bit
    bits: float
    seen: float | None
    gate: float | None
    fixed_level: float | None
    not_worse: float | None


def adaptive(
    repeats: int, rng: np.random.Generator, pools: tuple[int, ...] = (512, 2048, 8192)
) -> list[Adaptive]:
    """Every way to draw, on every pool."""
    ways = {"subsets": UNLIMITED, "retiring": NEVER, "reused when dry": AGAIN}
    fixed = AGAIN.size
    rows = [attack("one set", fixed, UNLIMITED, bit, repeats, rng) for bit in Bit]
    for pool in pools:
        for way, policy in ways.items():
            rows += [
                attack(way, pool, policy, bit, repeats, rng) for bit in (Bit.VERDICT, Bit.TELLING)
            ]
    return rows


def attack(
    way: str, pool: int, policy: GatePolicy, bit: Bit, repeats: int, rng: np.random.Generator
) -> Adaptive:
    """Play it ``repeats`` times."""
    bits, gains = [], []
    for _ in range(repeats):
        learned, seen = _play(pool, policy, bit, rng)
        bits.append(learned)
        if seen is not None:
            gains.append(seen)
    if len(gains) < repeats:
        return Adaptive(way, pool, bit, float(np.mean(bits)), None, None, None, None)
    final_gains = np.stack(gains)
    e = _evidence(final_gains, policy)
    level = Budget(ROUNDS, ROUNDS // 5).level(policy.alpha)
    errors = final_gains.std(-1, ddof=1) / np.sqrt(final_gains.shape[1])
    return Adaptive(
        way, pool, bit, float(np.mean(bits)), float((final_gains.mean(-1) / errors).mean()),
        float((e >= -np.log10(level)).mean()), float((e >= -np.log10(policy.alpha)).mean()),
        float((final_gains.mean(-1) >= 0).mean()),
    )  # fmt: skip


def _play(
    pool: int, policy: GatePolicy, bit: Bit, rng: np.random.Generator
) -> tuple[int, NDArray[np.float64] | None]:
    """How many bits one attacker learned, and (k,) gains on the draw after; None if there is none.

    What a direction does to a probe is one of (rounds, pool) normal values.
    """
    effects = rng.standard_normal((ROUNDS, pool), dtype=np.float32)
    signs = np.where(rng.random(ROUNDS) < 0.5, 1.0, -1.0)
    uses, budget = np.zeros(pool, np.int64), Budget()
    for number in range(ROUNDS):
        drawn = _next(uses, policy, rng)
        if drawn is None:
            return number, None
        uses[drawn] += 1
        gains = SD * effects[number, drawn].astype(np.float64)
        if bit is Bit.TELLING:
            signs[number] = 1 if gains.mean() > 0 else -1
        elif bit is Bit.VERDICT:
            level = budget.level(policy.alpha)
            promoted = bool(_evidence(gains, policy) >= -np.log10(level))
            signs[number], budget = 1 if promoted else -1, budget.after(promoted)
    drawn = _next(uses, policy, rng)
    if drawn is None:
        return ROUNDS, None
    return ROUNDS, SD / np.sqrt(ROUNDS) * (signs @ effects[:, drawn].astype(np.float64))


def _next(
    uses: NDArray[np.int64], policy: GatePolicy, rng: np.random.Generator
) -> NDArray[np.int64] | None:
    if is_dry(uses, policy) and policy.reuse is Reuse.NEVER:
        return None
    return choose(uses, policy.size, rng, policy)


def _evidence(gains: NDArray[np.float64], policy: GatePolicy) -> NDArray[np.float64]:
    return log10_e(gains, policy.bound, policy.correlation)
