"""Rounds by outcome, and updates by what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

from simulations.report.blocks import Block, Panel, Panels, Section, Table, folded, plain
from simulations.report.cells import Tally
from simulations.report.grid import Grid
from simulations.report.text import percent, whole
from simulations.report.tiers import tier_rank

OUTCOMES = ("released", "refused-by-gate", "void", "failed")
UPDATES = ("accepted", "stand-in", "late", "outvoted")
COLOUR_OF = {
    "released": 2,
    "accepted": 2,
    "stand-in": 5,
    "late": 4,
    "void": 4,
    "outvoted": 3,
    "failed": 3,
    "refused": 1,
    "refused-by-gate": 1,
}
WIDTH, ROW, BAR = 420, 34, 12
MOST_BARS = 16


def rounds(grid: Grid) -> Section | None:
    """Counts by group and by tier, with bars for the eye."""
    groups: dict[str, Tally] = {}
    by_row: dict[str, Tally] = {}
    tiers: dict[str, Tally] = {}
    for group in grid.groups:
        for cell in group.cells:
            groups.setdefault(group.label, Tally()).add(cell.tally)
            by_row.setdefault(group.row, Tally()).add(cell.tally)
            for tier, of in cell.tallies.items():
                tiers.setdefault(tier, Tally()).add(of)
    if not tiers:
        return None
    blocks: list[Block] = []
    if len(groups) > 1:
        # Where there are too many cases for bars, the columns of a row are counted together.
        shown = groups if len(groups) <= MOST_BARS else by_row
        title = grid.row_title or "case"
        blocks.append(_charts(shown, title))
        blocks.append(folded(_table(groups, title)))
    by_tier = {tier: tiers[tier] for tier in sorted(tiers, key=tier_rank)}
    blocks += [_charts(by_tier, "tier"), _table(by_tier, "tier")]
    text = (
        "What became of rounds, and of the updates in them: accepted, a stand-in for an absent "
        "child, late, outvoted by the robust rule, or refused with a reason. All seeds together."
    )
    return Section("rounds", "Rounds and updates", text, tuple(blocks))


def _charts(tallies: Mapping[str, Tally], title: str) -> Panels:
    by_outcome = [of.outcomes for of in tallies.values()]
    fates = [_fates(of) for of in tallies.values()]
    kinds = [kind for kind in (*UPDATES, "refused") if any(of[kind] for of in fates)]
    labels = list(tallies)
    charts = (
        Panel(f"Rounds by outcome, by {title}", bars(labels, by_outcome, _outcomes(tallies))),
        Panel(f"Updates, by {title}", bars(labels, fates, kinds)),
    )
    left = len(labels) - MOST_BARS
    return Panels(charts, caption=f"{left} more in the table only." if left > 0 else "", wide=True)


def _table(tallies: Mapping[str, Tally], title: str) -> Table:
    outcomes = _outcomes(tallies)
    reasons = _known((), [of.refused for of in tallies.values()])
    head = (title, *outcomes, *UPDATES, *(f"refused: {code}" for code in reasons))
    rows = []
    for label, of in tallies.items():
        counts = [of.outcomes[k] for k in outcomes] + [of.updates[k] for k in UPDATES]
        counts += [of.refused[code] for code in reasons]
        rows.append((label, plain([whole(count) for count in counts])))
    return Table(head, tuple(rows))


def _outcomes(tallies: Mapping[str, Tally]) -> list[str]:
    return _known(OUTCOMES, [of.outcomes for of in tallies.values()])


def _fates(of: Tally) -> Counter[str]:
    return Counter({**of.updates, "refused": of.refused.total()})


def _known(first: Sequence[str], counts: Sequence[Counter[str]]) -> list[str]:
    seen = {kind for of in counts for kind, count in of.items() if count}
    return [kind for kind in first if kind in seen] + sorted(seen - set(first))


def bars(labels: Sequence[str], counts: Sequence[Counter[str]], kinds: Sequence[str]) -> Markup:
    """A bar of shares for each label; each kind has its colour and its place, and its number."""
    parts, y = [_key(kinds), ""], 18 * _key_rows(kinds) + 6
    for label, of in list(zip(labels, counts, strict=True))[:MOST_BARS]:
        total = sum(of[kind] for kind in kinds)
        shown = label if len(label) <= 44 else f"{label[:43]}…"
        parts.append(f'<text class="scope" x="0" y="{y + 11}">{escape(shown)}</text>')
        parts.append(
            f'<text class="tick" x="{WIDTH}" y="{y + 11}" text-anchor="end">{total:,}</text>'
        )
        x = 0.0
        for kind in kinds:
            width = WIDTH * of[kind] / total if total else 0.0
            if width:
                share = f"{kind}: {of[kind]:,} ({percent(of[kind] / total)})"
                bar = _box(kind, x, y + 16, max(width - 1, 0.8), BAR, share)
                parts.append(bar)
            x += width
        y += ROW
    said = "; ".join(f"{k}: {sum(of[k] for of in counts):,}" for k in kinds)
    return Markup(  # noqa: S704  texts are escaped above
        f'<svg class="chart" viewBox="0 0 {WIDTH} {y + 2}" role="img" aria-label="{escape(said)}">'
        f"{''.join(parts)}</svg>"
    )


def _box(kind: str, x: float, y: float, width: float, height: float, said: str) -> str:
    return (
        f'<rect class="bar c{COLOUR_OF.get(kind, 6)}" x="{x:.1f}" y="{y:g}" width="{width:.1f}"'
        f' height="{height:g}"><title>{escape(said)}</title></rect>'
    )


def _places(kinds: Sequence[str]) -> list[tuple[float, int]]:
    """Where the key's entries stand: (x, row), wrapped at the width."""
    places, x, row = [], 0.0, 0
    for kind in kinds:
        wide = 22 + 7.0 * len(kind)
        if x and x + wide > WIDTH:
            x, row = 0.0, row + 1
        places.append((x, row))
        x += wide
    return places


def _key_rows(kinds: Sequence[str]) -> int:
    return 1 + max((row for _, row in _places(kinds)), default=0)


def _key(kinds: Sequence[str]) -> str:
    parts = []
    for kind, (x, row) in zip(kinds, _places(kinds), strict=True):
        y = 18 * row
        parts.append(
            _box(kind, x, y + 2, 10, 10, kind)
            + f'<text class="tick" x="{x + 14:g}" y="{y + 11}">{escape(kind)}</text>'
        )
    return "".join(parts)
