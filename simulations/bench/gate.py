"""What the gate lets through: false promotions, power, and candidates that adapt to its verdicts.

Numbers only, no model: per-probe gains are drawn with the spread that was measured on real text
(standard deviation 0.04 to 0.14 nats), and judged by the gate's own evidence and budget. Beside it
stand its first form (the mean is not worse), a fixed level, and a budget that falls with 1/k².
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from aggregation.gate import Budget, GatePolicy, GateVerdict, judge, log10_e
from simulations.bench.gate_adaptive import adaptive
from simulations.tables import formatted, table

Array = NDArray[np.float64]
Rng = np.random.Generator

GATES, PROBES, SD, GAIN = 200, 256, 0.1, 0.05
SHARES = (0.0, 0.05, 0.2, 0.5, 0.9)
RULES = ("this gate", "1/k² budget", "e ≥ 20 each", "mean not worse")
USUAL = 5
"""In a usual history every fifth test promoted."""


def _losers(rng: Rng, shape: tuple[int, int]) -> Array:
    """Log-normal: most probes gain a little, few lose much."""
    draws = rng.lognormal(0, 1, shape)
    return -(draws - math.exp(0.5)) / math.sqrt((math.e - 1) * math.e)


def _damage(rng: Rng, shape: tuple[int, int]) -> Array:
    """One probe in fifty loses five standard deviations of the whole."""
    hit = rng.random(shape) < 0.02
    return math.sqrt(0.51) * rng.standard_normal(shape) - 5 * hit + 0.1


def _documents(rng: Rng, shape: tuple[int, int]) -> Array:
    """Always four probes of one document, correlated by 0.3."""
    shared = np.repeat(rng.standard_normal((shape[0], shape[1] // 4)), 4, axis=1)
    return math.sqrt(0.7) * rng.standard_normal(shape) + math.sqrt(0.3) * shared


def _disaster(rng: Rng, shape: tuple[int, int]) -> Array:
    """One probe in a thousand loses a hundred standard deviations: most draws do not see it."""
    return rng.standard_normal(shape) - 100 * (rng.random(shape) < 1e-3) + 0.1


SHAPES: Mapping[str, Callable[[Rng, tuple[int, int]], Array]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "heavy tails": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3),  # Student's t
    "rare losses": _losers,
    "rare gains": lambda rng, shape: -_losers(rng, shape),
    "damage": _damage,
    "documents": _documents,
    "disaster": _disaster,
}
"""Mean 0 and, but for the last, standard deviation 1."""


@dataclass(frozen=True)
class FalsePromotions:
    """Over many histories of ``GATES`` gates.

    Attributes:
        share: of the candidates that truly gain; the others gain nothing.
        rate: the false share of a history's promotions, mean over histories; 0 without promotions.
        promotions: of a history, mean.
        found: the share of the true gains that were promoted.
    """

    shape: str
    share: float
    rule: str
    rate: float
    promotions: float
    found: float | None


@dataclass(frozen=True)
class Power:
    """How often a true gain passes at test ``gate`` after so many promotions."""

    probes: int
    gain: float
    sd: float
    gate: int
    promotions: int
    rule: str
    passed: float


@dataclass(frozen=True)
class Whole:
    """How often the whole judgement accepts, with half of the sources unchanged.

    ``GAIN`` is the mean over sources; ``harm`` is what one of the unchanged ones loses, in nats.
    """

    sources: int
    probes: int
    harm: float
    accepted: float
    objected: float


def run(histories: int = 500, seed: int = 0) -> dict[str, Any]:
    """All parts, from one seed. Time goes with ``histories``."""
    rng = np.random.default_rng(seed)
    rows = [row for shape in SHAPES for row in false_promotions(shape, histories, rng)]
    return {
        "histories": histories,
        "seed": seed,
        "false_promotions": [asdict(row) for row in rows],
        "power": [asdict(row) for row in power(4 * histories, rng)],
        "whole": [asdict(row) for row in whole(2 * histories, rng)],
        "few_probes": [asdict(row) for row in few_probes(4 * histories, rng)],
        "skewed": [asdict(row) for row in skewed(40 * histories, np.random.default_rng(seed))],
        "adaptive": [asdict(row) for row in adaptive(max(20, histories // 5), rng)],
    }


def false_promotions(
    shape: str, histories: int, rng: Rng, shares: tuple[float, ...] = SHARES
) -> list[FalsePromotions]:
    """Histories of ``GATES`` gates with ``PROBES`` fresh probes each, judged by every rule."""
    evidence, means = np.empty((2, histories, GATES)), np.empty((2, histories, GATES))
    for history in range(histories):  # one at a time: all of them would be gigabytes
        gains = SD * SHAPES[shape](rng, (GATES, PROBES))
        for true in (0, 1):
            moved = gains + true * GAIN
            evidence[true, history], means[true, history] = _evidence(moved), moved.mean(-1)
    rows = []
    for share in shares:
        truly = rng.random((histories, GATES)) < share
        e = np.where(truly, evidence[1], evidence[0])
        mean = np.where(truly, means[1], means[0])
        for rule in RULES:
            promoted = _promoted(rule, e, mean)
            false, every = (promoted & ~truly).sum(1), promoted.sum(1)
            rate = float((false / np.maximum(every, 1)).mean())
            found_share = float(promoted[truly].mean()) if truly.any() else None
            rows.append(FalsePromotions(shape, share, rule, rate, float(every.mean()), found_share))
    return rows


def power(trials: int, rng: Rng) -> list[Power]:
    """A true gain at tests 1, 20 and 100, with no promotion before and with every fifth."""
    rows = []
    for probes, gain, sd in (
        (256, 0.05, 0.1), (256, 0.05, 0.04), (256, 0.05, 0.14), (128, 0.05, 0.1),
        (512, 0.05, 0.14), (256, 0.03, 0.1), (256, 0.02, 0.04),
    ):  # fmt: skip
        gains = gain + sd * rng.standard_normal((trials, probes))
        for gate in (1, 20, 100, 1000):
            for promotions in sorted({0, gate // USUAL}):
                rows += _powers(gains, gain, sd, gate, promotions)
    return rows


def whole(trials: int, rng: Rng) -> list[Whole]:
    """Test 20 after four promotions, with the probes that a gate draws, and 256 in all."""
    rows = []
    for sources in (2, 4, 8, 16):
        for probes in sorted({PROBES, max(PROBES, GatePolicy().each * sources)}):
            for harm in (0.0, 0.02, 0.05, 0.1):
                rises = np.zeros(sources)
                rises[: sources // 2] = -2 * GAIN
                rises[-1] = harm
                verdicts = [_judged(rises, probes // sources, rng) for _ in range(trials)]
                accepted = sum(v.accepted for v in verdicts) / trials
                objected = sum(any(r.source for r in v.reasons) for v in verdicts) / trials
                rows.append(Whole(sources, probes, harm, accepted, objected))
    return rows


def _judged(rises: Array, count: int, rng: Rng) -> GateVerdict:
    names = [f"source {i}" for i in range(len(rises))]
    candidate = rises[:, None] + SD * rng.standard_normal((len(rises), count))
    current = dict.fromkeys(names, np.zeros(count))
    return judge(current, dict(zip(names, candidate, strict=True)), GatePolicy(), Budget(19, 4))


def few_probes(trials: int, rng: Rng) -> list[Power]:
    """Large gains on few probes, as in small demos: tests 1 and 3 of a calm demo, and the ninth."""
    rows = []
    for probes in (8, 16, 32):
        for gain in (0.3, 3.0):
            for sd in (gain / 4, gain / 2, gain):
                gains = gain + sd * rng.standard_normal((trials, probes))
                for gate, promotions in ((1, 0), (3, 2), (9, 3)):
                    rows += _powers(gains, gain, sd, gate, promotions)[:1]
    return rows


def skewed(trials: int, rng: Rng) -> list[Power]:
    """No gain but a skew to loss, which few probes do not show: what passes here is false."""
    rows = []
    for probes in (8, 16, 32, 64):
        gains = 0.5 * _losers(rng, (trials, probes))
        for gate, promotions in ((1, 0), (3, 2)):
            rows += _powers(gains, 0.0, 0.5, gate, promotions)[:1]
    return rows


def _powers(gains: Array, gain: float, sd: float, gate: int, promotions: int) -> list[Power]:
    e, mean = _evidence(gains), gains.mean(-1)
    return [
        Power(
            gains.shape[1], gain, sd, gate, promotions, rule,
            float(_passes(rule, e, mean, gate, np.array(promotions)).mean()),
        )
        for rule in RULES
    ]  # fmt: skip


def _evidence(gains: Array) -> Array:
    policy = GatePolicy()
    return log10_e(gains, policy.bound, policy.correlation)


def _promoted(rule: str, e: Array, mean: Array) -> NDArray[np.bool_]:
    """(histories, gates): which candidates pass, each history with its own budget."""
    promoted = np.zeros(e.shape, np.bool_)
    count = np.zeros(len(e), np.int64)
    for gate in range(e.shape[1]):
        promoted[:, gate] = _passes(rule, e[:, gate], mean[:, gate], gate + 1, count)
        count += promoted[:, gate]
    return promoted


def _passes(
    rule: str, e: Array, mean: Array, gate: int, promotions: NDArray[np.int64]
) -> NDArray[np.bool_]:
    alpha = GatePolicy().alpha
    passes: NDArray[np.bool_]
    match rule:
        case "this gate":
            level = Budget(gate - 1).level(alpha) * (promotions + 1)
            passes = e >= -np.log10(level)
        case "1/k² budget":
            passes = e >= -math.log10(alpha * 6 / (math.pi * gate) ** 2)
        case "e ≥ 20 each":
            passes = e >= -math.log10(alpha)
        case _:
            passes = mean >= 0
    return passes


def tables(result: Mapping[str, Any]) -> Iterator[Table]:
    """The parts one after the other."""
    groups = _grouped(result["false_promotions"], "shape", "share").items()
    yield table(
        f"False share of promotions over {GATES} gates (share of true gains of {GAIN} found)",
        ("gains", "true", *RULES),
        [(shape, f"{share:.0%}", *map(_with_true, rows)) for (shape, share), rows in groups],
    )
    for key, title in (
        ("power", "How often a true gain passes, after so many promotions before"),
        ("few_probes", "How often a large gain passes on few probes"),
        ("skewed", "How often nothing but a skew passes on few probes"),
    ):
        rules = RULES if key == "power" else RULES[:1]
        groups = _grouped(result[key], "probes", "gain", "sd", "gate", "promotions").items()
        yield table(
            title,
            ("probes", "gain", "sd", "test", "before", *rules),
            [(*(f"{v:g}" for v in at), *(f"{r['passed']:.1%}" for r in rs)) for at, rs in groups],
        )
    yield formatted(
        "The whole judgement: half of the sources gain 0.1, one loses this much",
        {"sources": "{sources}", "probes in all": "{probes}", "harm": "{harm:g}"}
        | {"accepted": "{accepted:.1%}", "source objected": "{objected:.1%}"},
        result["whole"],
    )
    yield formatted(
        "A candidate without any gain, built from 200 bits about the probes",
        {"probes": "{way}", "pool": "{pool:,}", "bit": "{bit}", "got": "{bits:.0f}"}
        | {"gain/se": "{seen:+.2f}", RULES[0]: "{gate:.1%}"}
        | {RULES[2]: "{fixed_level:.1%}", RULES[3]: "{not_worse:.1%}"},
        result["adaptive"],
    )


def _grouped(rows: list[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _with_true(row: Mapping[str, Any]) -> str:
    share = "" if row["found"] is None else f" ({row['found']:.0%})"
    return f"{row['rate']:.1%}{share}"
