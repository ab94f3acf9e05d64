"""Rounds by outcome, and updates by what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from simulations.report.blocks import Block, Panels, Section, Table, folded, plain
from simulations.report.cells import Tally
from simulations.report.charts import bar_chart
from simulations.report.grid import Grid
from simulations.report.text import tier_rank, whole

OUTCOMES = ("released", "refused-by-gate", "void", "failed")
UPDATES = ("accepted", "stand-in", "late", "outvoted")
REFUSED = "refused"
COLOUR_OF = {"released": 2, "accepted": 2, "stand-in": 5, "late": 4, "void": 4, "outvoted": 3}
COLOUR_OF |= {"failed": 3, REFUSED: 1, "refused-by-gate": 1}
OTHER_COLOUR = 6
MOST_BARS = 16


def rounds(grid: Grid) -> Section | None:
    """Count rounds and updates by group and by tier, with bars for the eye."""
    by_group: dict[str, Tally] = {}
    by_row: dict[str, Tally] = {}
    by_tier: dict[str, Tally] = {}
    for group in grid.groups:
        for cell in group.cells:
            for tier, tally in cell.tallies.items():
                by_group.setdefault(group.label, Tally()).add(tally)
                by_row.setdefault(group.row, Tally()).add(tally)
                by_tier.setdefault(tier, Tally()).add(tally)
    if not by_tier:
        return None
    blocks: list[Block] = []
    if len(by_group) > 1:
        # Where there are too many cases for bars, the columns of a row are counted together.
        title = grid.row_title or "case"
        blocks.append(_charts(by_group if len(by_group) <= MOST_BARS else by_row, title))
        blocks.append(folded(_table(by_group, title)))
    by_tier = {tier: by_tier[tier] for tier in sorted(by_tier, key=tier_rank)}
    blocks += [_charts(by_tier, "tier"), _table(by_tier, "tier")]
    text = (
        "What became of rounds, and of the updates in them: accepted, a stand-in for an absent "
        "child, late, outvoted by the robust rule, or refused with a reason. All seeds together."
    )
    return Section("rounds", "Rounds and updates", text, tuple(blocks))


def _charts(tallies: Mapping[str, Tally], title: str) -> Panels:
    outcomes = [tally.outcomes for tally in tallies.values()]
    updates = [
        Counter({**tally.updates, REFUSED: tally.refused.total()}) for tally in tallies.values()
    ]
    panels = []
    for name, first, counts in (
        (f"Rounds by outcome, by {title}", OUTCOMES, outcomes),
        (f"Updates, by {title}", (*UPDATES, REFUSED), updates),
    ):
        kinds = [(kind, COLOUR_OF.get(kind, OTHER_COLOUR)) for kind in _kinds(first, counts)]
        panels.append((name, bar_chart(list(tallies)[:MOST_BARS], counts[:MOST_BARS], kinds)))
    left = len(tallies) - MOST_BARS
    caption = f"{left} more in the table only." if left > 0 else ""
    return Panels(tuple(panels), caption=caption, wide=True)


def _table(tallies: Mapping[str, Tally], title: str) -> Table:
    outcomes = _kinds(OUTCOMES, [tally.outcomes for tally in tallies.values()])
    reasons = _kinds((), [tally.refused for tally in tallies.values()])
    head = (title, *outcomes, *UPDATES, *(f"refused: {code}" for code in reasons))
    rows = []
    for label, tally in tallies.items():
        counts = [tally.outcomes[kind] for kind in outcomes]
        counts += [tally.updates[kind] for kind in UPDATES]
        counts += [tally.refused[code] for code in reasons]
        rows.append((label, plain([whole(count) for count in counts])))
    return Table(head, tuple(rows))


def _kinds(first: Sequence[str], counts: Sequence[Counter[str]]) -> list[str]:
    """The kinds that there are: those of ``first`` in its order, then others by name."""
    seen = {kind for counter in counts for kind, count in counter.items() if count}
    return [kind for kind in first if kind in seen] + sorted(seen.difference(first))
