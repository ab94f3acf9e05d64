"""The capture experiment: how far colluders get in a tree, and what each defence gives back.

Colluders of one subtree more than its tier tolerates move its aggregate as far as they like; one
such subtree more than the upper tier tolerates, and the root moves: 16 of 100 where one flat
federation would tolerate 30. ``world`` has devices and attacks, ``tree`` tiers and defences. The
error is the distance of the root's aggregate from the honest mean, beside that of a flat federation
with the same devices, colluders and data. Vectors are synthetic; no model is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from rich.table import Table

from aggregation.audit.sketch import sketch
from simulations.capture.tree import (
    DEFENCES,
    KNOWN_SEED,
    accused,
    flat,
    grow,
    held_by_colluders,
    rehearsed,
    upper,
)
from simulations.capture.world import PUSHES, Array, CaptureWorld, Push, Shape, colluders, make
from simulations.tables import table

REHEARSAL = 0.2
"""Norm of a rehearsal term, in median norms of a device's update; the audit's cap is 0.25."""


@dataclass(frozen=True)
class Case:
    """One setting.

    Attributes:
        fan: children of every node.
        attackers: how many devices collude.
        placement: see ``world.colluders``.
        attack: a name of ``world.PUSHES``, or a number of standard deviations as text.
        rounds: of the lower tier in one offer; with more than one, rehearsal in between.
        heterogeneity: norm of what sets subtrees apart, in norms of a device's noise.
        active: in how many of the rounds, from the first, colluders push; None for all.
    """

    fan: int
    attackers: int
    placement: str = "concentrated"
    attack: str = "large"
    rounds: int = 1
    heterogeneity: float = 0.0
    active: int | None = None
    defences: tuple[str, ...] = ("none", "audit")


@dataclass(frozen=True)
class Row:
    """One setting, one defence, one seed.

    Attributes:
        active: in how many rounds colluders push.
        error: distance of the root's aggregate from the honest mean, in usual norms of a device's
            noise; ``flat_error`` is the flat federation's.
        captured: subtrees with more colluders in a round than their tier tolerates.
        found: how many of those the audit does not call clean.
        false_alarms: other subtrees that it does not call clean.
        left_out: subtrees whose offers did not count.
        share: bytes of the audit over those of forwarding every update.
        sketch_rows, spots: of the audit.
    """

    case: Case
    active: int
    defence: str
    seed: int
    size: int
    error: float
    flat_error: float
    captured: int
    found: int
    false_alarms: int
    left_out: int
    share: float
    sketch_rows: int
    spots: int

    @property
    def ratio(self) -> float:
        """The error over the flat federation's."""
        return self.error / self.flat_error


FIRST = ("none", "largest f", "reassign", "reassign, largest f", "audit")
MANY = (*FIRST, "audit, largest f", "audit, reassign")


def cases(quick: bool) -> Iterator[Case]:
    """The settings of the experiment; ``quick`` has those that the goal is about."""
    for fan in (10,) if quick else (10, 5):
        shape = Shape(fan)
        yield Case(fan, 0, defences=MANY)
        counts = (shape.f + 1, shape.capture - 1, shape.capture)
        for attackers in counts[-1:] if quick else (*counts, shape.flat_f):
            for placement in ("spread", "concentrated"):
                yield Case(fan, attackers, placement, defences=MANY)
        yield Case(fan, 0, rounds=3, defences=("none", "audit"))
        for attack in ("large", "under"):
            yield Case(fan, shape.capture, attack=attack, rounds=3, defences=MANY)
        yield Case(fan, shape.capture, rounds=3, active=1)
        yield Case(fan, shape.capture, defences=("audit, seed known",))
        if quick:
            continue
        for attack in ("little", "1", "under", "2", "2.5", "3"):
            yield Case(fan, shape.capture, attack=attack)
        yield Case(fan, shape.f * fan, "whole", defences=FIRST)
        for heterogeneity in (1.0, 3.0):
            yield Case(fan, 0, heterogeneity=heterogeneity)
            yield Case(fan, shape.flat_f, "spread", heterogeneity=heterogeneity)
            for attack in ("1", "under", "2", "2.5", "3", "5", "large"):
                case = Case(fan, shape.capture, attack=attack, heterogeneity=heterogeneity)
                yield replace(case, defences=("none", "audit", "audit, recompute"))


def run(
    *,
    quick: bool = False,
    size: int | None = None,
    seeds: int | None = None,
    settings: Sequence[Case] | None = None,
) -> list[Row]:
    """Measure every case with every of its defences.

    Args:
        size: d; default 10,000, quick 5,000.
        seeds: how many; default 5, quick 2.
        settings: default ``cases(quick)``.
    """
    size = size or (5_000 if quick else 10_000)
    numbers = range(seeds or (2 if quick else 5))
    every = settings or tuple(cases(quick))
    return [row for case in every for seed in numbers for row in _measure(case, size, seed)]


def _measure(case: Case, size: int, seed: int) -> Iterator[Row]:
    shape = Shape(case.fan)
    push = PUSHES[case.attack] if case.attack in PUSHES else float(case.attack)
    bad = colluders(shape, case.attackers, case.placement)
    rehearsal = REHEARSAL if case.rounds > 1 else 0.0

    def draw(craft: Push = lambda direction: direction) -> CaptureWorld:
        return make(
            shape, size, case.rounds, bad, push, case.heterogeneity, seed, craft, case.active
        )

    usual_world = draw()
    unit = float(np.linalg.norm(usual_world.push)) / push
    for defence in (DEFENCES[name] for name in case.defences):
        rng = np.random.default_rng([seed, 1])
        world = usual_world
        if defence.known:  # k is public: it follows from sizes and counts
            dry = upper(grow(world, rehearsal, rng, False), shape, defence, rng.bytes(32))
            assert dry.plan is not None  # noqa: S101  a known seed is of an audit
            known_rows = dry.plan.rows
            world = draw(lambda direction, k=known_rows: in_null_space(direction, KNOWN_SEED, k))  # type: ignore[misc]
        tiers = grow(world, rehearsal, rng, defence.reassign)
        made = upper(tiers, shape, defence, rng.bytes(32))
        target = world.target()
        error = float(np.linalg.norm(made.vector - target - rehearsed(tiers))) / unit
        flat_error = float(np.linalg.norm(flat(world) - target)) / unit
        captured = held_by_colluders(tiers, world)
        suspects = accused(made.audit) if made.audit else set()
        yield Row(
            case=case,
            active=world.active,
            defence=defence.name,
            seed=seed,
            size=size,
            error=error,
            flat_error=flat_error,
            captured=len(captured),
            found=len(captured & suspects),
            false_alarms=len(suspects - captured),
            left_out=len(tiers) - made.counted if made.audit else 0,
            share=made.share,
            sketch_rows=made.plan.rows if made.plan else 0,
            spots=made.plan.spots if made.plan else 0,
        )


def in_null_space(direction: Array, seed: bytes, rows: int) -> Array:
    """What of a direction a known projection does not see, at the direction's length."""
    size, chunk = direction.size, 512
    projection = np.empty((size, rows))  # (d, k): the sketch of every unit vector
    for start in range(0, size, chunk):
        count = min(chunk, size - start)
        units = np.zeros((count, size), np.float32)
        units[np.arange(count), start + np.arange(count)] = 1
        projection[start : start + count] = sketch(units, seed, rows)
    basis, _ = np.linalg.qr(projection)
    hidden = direction - basis @ (basis.T @ direction)
    return np.asarray(hidden * (np.linalg.norm(direction) / np.linalg.norm(hidden)), np.float32)


def tables(rows: Sequence[Row]) -> Iterator[Table | str]:
    """A small table for each case: the median and the worst seed of each defence; errors are in
    usual norms of a device's noise."""
    seeds = len({row.seed for row in rows})
    size = rows[0].size
    yield f"Distance of the root's aggregate from the honest mean, d = {size}, {seeds} seeds"
    cases: dict[tuple[Case, int], dict[str, list[Row]]] = {}
    for row in rows:
        cases.setdefault((row.case, row.active), {}).setdefault(row.defence, []).append(row)
    columns = ("defence", "error", "× flat", "worst", "found", "alarms", "bytes")
    for (case, active), groups in cases.items():
        flat_error = median(row.flat_error for group in groups.values() for row in group)
        title = f"{_in_words(case, active)}; flat error {flat_error:.3f}"
        yield table(title, columns, [_line(group) for group in groups.values()])


def _in_words(case: Case, active: int) -> str:
    words = [f"{case.fan}×{case.fan}", f"{case.attackers} attackers"]
    if case.attackers:
        words[1] += f" {case.placement}"
        words.append(f"push {case.attack}")
    if case.rounds > 1:
        words.append(f"{case.rounds} rounds with rehearsal")
    if case.attackers and active < case.rounds:
        words.append(f"pushing in {active}")
    if case.heterogeneity:
        words.append(f"domains {case.heterogeneity:g}")
    return ", ".join(words)


def _line(group: Sequence[Row]) -> list[str]:
    audited, subtrees = group[0].sketch_rows > 0, len(group) * group[0].case.fan
    captured = sum(row.captured for row in group)
    ratios = [row.ratio for row in group]
    return [
        group[0].defence,
        f"{median(row.error for row in group):.3f}",
        f"{median(ratios):.2f}",
        f"{max(ratios):.2f}",
        f"{sum(row.found for row in group)}/{captured}" if audited else "–",
        f"{sum(row.false_alarms for row in group)}/{subtrees - captured}" if audited else "–",
        f"{max(row.share for row in group):.2%}" if audited else "–",
    ]
