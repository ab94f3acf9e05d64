"""What the figures say, in one line each: the first is the answer to the experiment's question."""

from __future__ import annotations

from simulations.report.attacks import Siege
from simulations.report.compare import best, loss
from simulations.report.costs import scales
from simulations.report.forgotten import forgotten
from simulations.report.grid import Grid
from simulations.report.losses import ENOUGH, reach, tiers_of
from simulations.report.text import duration, factor, figure, percent

APART = 1.5
"""Times that differ by less than this factor are not the answer."""


def answers(grid: Grid, attacked: Siege | None) -> tuple[str, ...]:
    """Make the sentences, the most telling first; none without finished cells."""
    sentences = [_under_attack(attacked), _growth(grid), _forgetting(grid)]
    if attacked is None:
        # Who is soonest says nothing where some are attacked and others are not.
        sentences.append(_soonest(grid))
    sentences.append(_ends(grid))
    return tuple(sentence for sentence in sentences if sentence)


def _under_attack(attacked: Siege | None) -> str:
    if attacked is None:
        return ""
    worst = [(*attacked.worst(row), row) for row in attacked.rows]
    (high, mildest, top), (low, fiercest, bottom) = max(worst), min(worst)
    sentence = (
        f"{f'{top} keeps' if top else 'The network keeps'} at worst {percent(high)} of the "
        f"attack-free loss reduction ({mildest})"
    )
    return f"{sentence}; {bottom} {percent(low)} ({fiercest})." if bottom != top else f"{sentence}."


def _growth(grid: Grid) -> str:
    growing = scales(grid)
    if not growing:
        return ""
    few, many = min(growing), max(growing)
    times = [
        f"{name} {factor(growing[many][name] / growing[few][name])}"
        for name in ("wall time", "peak memory", "messages")
        if growing[few][name] > 0
    ]
    return f"From {few:,} to {many:,} devices ({factor(many / few)}): {', '.join(times)}."


def _forgetting(grid: Grid) -> str:
    learners = [(amount.median, label) for label, amount in forgotten(grid)]
    if not learners:
        return ""
    (low, least), (high, most) = min(learners), max(learners)
    sentence = f"{least} forgets least, {figure(low)}"
    return f"{sentence}; {most} most, {figure(high)}." if most != least else f"{sentence}."


def _soonest(grid: Grid) -> str:
    tiers = tiers_of(grid)
    reached = reach(grid, tiers[0]) if tiers else None
    if reached is None:
        return ""
    known = [(time.median, label) for label, time in reached.times if time is not None]
    (soon, first), (late, last) = min(known), max(known)
    never = [label for label, time in reached.times if time is None]
    if not never and late < APART * soon:
        return ""
    sentence = (
        f"{first} reaches {percent(ENOUGH)} of the best loss reduction first, after "
        f"{duration(soon)} of simulated time"
    )
    if late >= APART * soon:
        sentence += f"; {last} after {duration(late)} ({factor(late / soon)})"
    if never:
        sentence += f"; {never[0]} never does" if len(never) == 1 else f"; {len(never)} never do"
    return sentence + "."


def _ends(grid: Grid) -> str:
    ends = best(grid)
    if ends is None:
        return ""
    low, high = (group.spread(loss) for group in ends)
    assert low is not None and high is not None  # noqa: S101  ``best`` compared their losses
    if ends[0] is ends[1]:
        gain = ends[0].spread(lambda cell: cell.gain)
        below = f", {figure(gain.median)} below the base" if gain else ""
        return f"Final loss {figure(low.median)}{below}."
    return (
        f"Lowest final loss: {ends[0].label}, {figure(low.median)}. "
        f"Highest: {ends[1].label}, {figure(high.median)}."
    )
