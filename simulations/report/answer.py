"""What the figures say, in one line each: the first is the answer to the experiment's question."""

from __future__ import annotations

from simulations.report.attacks import Siege
from simulations.report.compare import best, loss
from simulations.report.costs import is_about_scale, scales
from simulations.report.forgotten import forgotten
from simulations.report.grid import Grid
from simulations.report.reach import ENOUGH, reach, tiers_of
from simulations.report.text import duration, factor, figure, percent

APART = 1.5
"""Times that differ by less than this factor are not the answer."""


def answers(grid: Grid, siege: Siege | None) -> list[str]:
    """Sentences, the most telling first; empty without finished cells."""
    of_kind = [_under_attack(siege), _grown(grid), _forgotten(grid), _ends(grid)]
    if siege is None:
        # Who is soonest says nothing where some are attacked and others are not.
        of_kind.insert(3, _sooner(grid))
    return [sentence for sentence in of_kind if sentence]


def _under_attack(siege: Siege | None) -> str:
    if siege is None:
        return ""
    worst = [(*siege.worst(row), row) for row in siege.rows]
    (high, by, top), (low, under, bottom) = max(worst), min(worst)
    who = f"{top} keeps" if top else "The network keeps"
    said = f"{who} at worst {percent(high)} of the attack-free loss reduction ({by})"
    return f"{said}; {bottom} {percent(low)} ({under})." if bottom != top else f"{said}."


def _grown(grid: Grid) -> str:
    if not is_about_scale(grid):
        return ""
    found = scales([cell for group in grid.groups for cell in group.cells])
    first, last = found[0], found[-1]
    said = []
    for name in ("wall time", "peak memory", "messages"):
        if first.medians.get(name, 0.0) > 0 and name in last.medians:
            said.append(f"{name} {factor(last.medians[name] / first.medians[name])}")
    devices = f"From {first.devices:,} to {last.devices:,} devices"
    return f"{devices} ({factor(last.devices / first.devices)}): {', '.join(said)}."


def _forgotten(grid: Grid) -> str:
    found = [(of.median, label) for label, of in forgotten(grid)]
    if not found:
        return ""
    (low, least), (high, most) = min(found), max(found)
    said = f"{least} forgets least, {figure(low)}"
    return f"{said}; {most} most, {figure(high)}." if most != least else f"{said}."


def _sooner(grid: Grid) -> str:
    tiers = tiers_of(grid)
    found = reach(grid, tiers[0]) if tiers else None
    if found is None:
        return ""
    known = [(time.median, label) for label, time in found.times if time is not None]
    (soon, first), (late, last) = min(known), max(known)
    never = [label for label, time in found.times if time is None]
    if not never and late < APART * soon:
        return ""
    said = (
        f"{first} reaches {percent(ENOUGH)} of the best loss reduction first, after "
        f"{duration(soon)} of simulated time"
    )
    if late >= APART * soon:
        said += f"; {last} after {duration(late)} ({factor(late / soon)})"
    if never:
        said += f"; {never[0]} never does" if len(never) == 1 else f"; {len(never)} never do"
    return said + "."


def _ends(grid: Grid) -> str:
    ends = best(grid)
    if ends is None:
        return ""
    low, high = (group.spread(loss) for group in ends)
    assert low is not None and high is not None  # noqa: S101  ``best`` compared their losses
    if ends[0] is ends[1]:
        gain = ends[0].spread(lambda cell: cell.gain)
        tail = f", {figure(gain.median)} below the base" if gain else ""
        return f"Final loss {figure(low.median)}{tail}."
    return (
        f"Lowest final loss: {ends[0].label}, {figure(low.median)}. "
        f"Highest: {ends[1].label}, {figure(high.median)}."
    )
