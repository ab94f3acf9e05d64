"""The topology as a drawn tree: a row for each scope, its devices as marks beside it.

Rows are indented by tier, so that a tree reads the same at a phone's width. Attackers are crosses,
honest nodes circles. Above ``MOST_ROWS`` scopes the children of a scope are drawn only in part, and
a row counts the others; a tree without a list of nodes is drawn tier by tier from its counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes

from simulations.records import NodeEntry, TopologyRecord
from simulations.report.blocks import Panels, Section, Table, plain
from simulations.report.charts import COLOURS, THEME, WIDTH, Chart, shorten
from simulations.report.grid import Grid
from simulations.report.text import counted, tier_rank, whole

MOST_ROWS = 44
MOST_MARKS = 20
MOST_TREES = 4
ROW, INDENT, MARKS_END = 21, 20, 412
HONEST: dict[str, Any] = {"marker": "o", "ls": "", "label": "honest"}
ATTACKER: dict[str, Any] = {"marker": "x", "ls": "", "label": "attacker", "color": COLOURS[1]}


@dataclass(frozen=True)
class TreeRow:
    """A scope with how many devices and attackers hang below it; ``rest`` stands for several."""

    depth: int
    parent: int | None
    text: str
    attacker: bool = False
    devices: int = 0
    attackers: int = 0
    rest: bool = False


def tree_chart(tree: TopologyRecord) -> Chart:
    """A tree's rows from the top, each joined to its parent's."""
    rows = _rows_of_nodes(tree.nodes) if tree.nodes else _rows_of_counts(tree.counts)
    height = ROW * len(rows) + 2

    def place(row: int) -> tuple[float, float]:
        return 10 + rows[row].depth * INDENT, (row + 0.5) * ROW

    def draw(axes: Axes) -> None:
        axes.set(xlim=(0, WIDTH), ylim=(height, 0))
        axes.set_axis_off()
        for number, row in enumerate(rows):
            x, y = place(number)
            if row.parent is not None:
                above, start = place(row.parent)
                branch = [above, above, x - 5], [start + 5, y, y]
                axes.plot(*branch, color=THEME["rule"], lw=1.5, zorder=0)
            if not row.rest:
                form = {**ATTACKER, "mew": 2} if row.attacker else {**HONEST, "color": COLOURS[0]}
                axes.plot(x, y, ms=7, **form)
            style = {"style": "italic", "color": THEME["soft"]} if row.rest else {}
            axes.text(x + 10, y, row.text, va="center_baseline", **style)
            if row.devices:
                _draw_devices(axes, row, y)

    text = f"A tree: {', '.join(f'{count} {tier}' for tier, count in tree.counts.items())}"
    return Chart(draw, text, (), height, (0, 0, 0, 0))


def _draw_devices(axes: Axes, row: TreeRow, y: float) -> None:
    shown = min(row.devices, MOST_MARKS)
    # Where there is no room for all, attackers keep their share; one is never lost.
    share = max(bool(row.attackers), round(row.attackers * shown / row.devices))
    crosses = min(shown, share)
    number = f"{row.devices:,}"
    start = MARKS_END - 8 * len(number) - 6 - shown * 8
    places = [start + place * 8 for place in range(shown)]
    axes.plot(places[:crosses], [y] * crosses, ms=5, mew=1.6, **ATTACKER)
    honest = {**HONEST, "mfc": "none", "color": THEME["soft"]}
    axes.plot(places[crosses:], [y] * (shown - crosses), ms=5, **honest)
    axes.text(MARKS_END, y, number, ha="right", va="center_baseline", color=THEME["soft"])


def topology(grid: Grid) -> Section | None:
    """Show every tree of the run that looks different, with counts by tier."""
    trees = [(g.label, tree) for g in grid.groups for cell in g.cells if (tree := cell.topology)]
    if not trees:
        return None
    # A tree with attackers shows more than the same tree without them.
    trees.sort(key=lambda tree: -_attackers(tree[1].nodes))
    different: dict[tuple[tuple[str, int], ...], tuple[str, TopologyRecord]] = {}
    for name, tree in trees:
        different.setdefault(tuple(sorted(tree.counts.items())), (name, tree))
    drawn = list(different.values())
    charts = tuple((name if len(drawn) > 1 else "", tree_chart(tree)) for name, tree in drawn)
    left = len(drawn) - MOST_TREES
    caption = f"{counted(left, 'more tree')} in the table only." if left > 0 else ""
    text = (
        "A row is a node with children; the marks beside it are its devices: a circle is honest, a "
        f"cross is an attacker. Of more than {MOST_MARKS} devices the marks show the shares, the "
        "number all."
    )
    panels = Panels(charts[:MOST_TREES], caption=caption, wide=True)
    return Section("topology", "Topology", text, (panels, _table(drawn)))


def _table(trees: Sequence[tuple[str, TopologyRecord]]) -> Table:
    tiers = sorted({tier for _, tree in trees for tier in tree.counts}, key=tier_rank)
    rows = []
    for name, tree in trees:
        counts = [whole(tree.counts.get(tier)) for tier in tiers]
        attackers = whole(_attackers(tree.nodes)) if tree.nodes else "not listed"
        rows.append((name if len(trees) > 1 else "nodes", plain([*counts, attackers])))
    return Table(("tree", *tiers, "attackers"), tuple(rows), caption="Nodes of every tier")


def _attackers(nodes: Sequence[NodeEntry]) -> int:
    return sum(node.attacker for node in nodes)


def _rows_of_nodes(nodes: Sequence[NodeEntry]) -> list[TreeRow]:
    parents = {node.parent for node in nodes}
    scopes: dict[int | None, list[NodeEntry]] = defaultdict(list)
    devices: dict[int | None, list[NodeEntry]] = defaultdict(list)
    for node in nodes:
        is_leaf = node.tier == "device" and node.id not in parents
        (devices if is_leaf else scopes)[node.parent].append(node)

    def below(scope: NodeEntry) -> list[NodeEntry]:
        return devices[scope.id] + [leaf for child in scopes[scope.id] for leaf in below(child)]

    def descend(parent: int | None, depth: int, above: int | None, most: int) -> None:
        """Add rows for a node's first ``most`` children and for all below them."""
        children = scopes[parent]
        # One child more takes no more room than the row that counts it.
        shown = len(children) if len(children) <= most + 1 else most
        for child in children[:shown]:
            name = shorten(child.scope.rstrip("/").rsplit("/", 1)[-1] or "root", 24)
            own = devices[child.id]
            rows.append(TreeRow(depth, above, name, child.attacker, len(own), _attackers(own)))
            descend(child.id, depth + 1, len(rows) - 1, most)
        if hidden := children[shown:]:
            leaves = [leaf for child in hidden for leaf in below(child)]
            text, bad = f"{len(hidden)} more", _attackers(leaves)
            rows.append(TreeRow(depth, above, text, False, len(leaves), bad, rest=True))

    for most in range(max(map(len, scopes.values()), default=1), 0, -1):
        rows: list[TreeRow] = []
        descend(None, 0, None, most)
        if len(rows) <= MOST_ROWS:
            break
    return rows[: 2 * MOST_ROWS]


def _rows_of_counts(counts: Mapping[str, int]) -> list[TreeRow]:
    tiers = sorted(counts, key=tier_rank)
    rows = []
    for depth, tier in enumerate(tiers):
        above = counts[tiers[depth - 1]] if depth else 0
        each = f" · {counts[tier] / above:,.3g} below each" if above else ""
        text = f"{tier}: {counts[tier]:,}{each}"
        rows.append(TreeRow(depth, depth - 1 if depth else None, text))
    return rows
