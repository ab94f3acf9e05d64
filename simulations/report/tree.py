"""The topology as a drawn tree: a row for each scope, its devices as marks beside it.

Rows are indented by tier, so that a tree reads the same at a phone's width. Attackers are crosses,
honest nodes circles. Above ``MOST_ROWS`` scopes the children of a scope are drawn only in part, and
a row says what is left out; a tree without a list of nodes is drawn tier by tier from its counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from simulations.records import NodeEntry, TopologyRecord
from simulations.report.blocks import Block, Panel, Panels, Section, Table, plain
from simulations.report.grid import Grid
from simulations.report.run import tree_shape
from simulations.report.text import counted, whole
from simulations.report.tiers import tier_rank

MOST_ROWS = 44
MOST_MARKS = 20
MOST_TREES = 4
WIDTH, ROW, INDENT = 420, 21, 20
MARKS_END = 412


@dataclass(frozen=True)
class _Row:
    depth: int
    parent: int | None
    text: str
    attacker: bool = False
    devices: tuple[int, int] = (0, 0)
    rest: bool = False


def topology(grid: Grid) -> Section | None:
    """Every tree of the run that looks different, with counts by tier."""
    trees: dict[tuple[object, ...], tuple[str, TopologyRecord]] = {}
    for group in grid.groups:
        for tree in (cell.topology for cell in group.cells):
            if tree is not None:
                trees.setdefault(tree_shape(tree), (group.label, tree))
    if not trees:
        return None
    # A tree with attackers shows more than the same tree without them.
    shown = sorted(trees.values(), key=lambda of: -sum(node.attacker for node in of[1].nodes))
    drawn: dict[tuple[tuple[str, int], ...], tuple[str, TopologyRecord]] = {}
    for name, tree in shown:
        drawn.setdefault(tuple(sorted(tree.counts.items())), (name, tree))
    several = len(drawn) > 1
    panels = tuple(
        Panel(name if several else "", draw(tree))
        for name, tree in list(drawn.values())[:MOST_TREES]
    )
    left = len(drawn) - MOST_TREES
    said = f"{counted(left, 'more tree')} in the table only." if left > 0 else ""
    blocks: list[Block] = [Panels(panels, caption=said, wide=True), _table(list(drawn.values()))]
    text = (
        "A row is a node with children; the marks beside it are its devices: a circle is honest, a "
        f"cross is an attacker. Of more than {MOST_MARKS} devices the marks show the shares, the "
        "number all."
    )
    return Section("topology", "Topology", text, tuple(blocks))


def _table(trees: Sequence[tuple[str, TopologyRecord]]) -> Table:
    tiers = sorted({tier for _, tree in trees for tier in tree.counts}, key=tier_rank)
    rows = []
    for name, tree in trees:
        bad = sum(node.attacker for node in tree.nodes)
        attackers = whole(bad) if tree.nodes else "not listed"
        counts = [whole(tree.counts[tier]) if tier in tree.counts else "–" for tier in tiers]
        rows.append((name if len(trees) > 1 else "nodes", plain([*counts, attackers])))
    return Table(("tree", *tiers, "attackers"), tuple(rows), caption="Nodes of every tier")


def draw(tree: TopologyRecord) -> Markup:
    """One tree as SVG."""
    rows = _rows(tree.nodes) if tree.nodes else _by_counts(tree.counts)
    parts = []
    for number, row in enumerate(rows):
        x, y = 10 + row.depth * INDENT, number * ROW + ROW / 2
        if row.parent is not None:
            from_x, from_y = 10 + rows[row.parent].depth * INDENT, row.parent * ROW + ROW / 2
            parts.append(f'<path class="branch" d="M{from_x} {from_y + 5:g}V{y:g}H{x - 5}"/>')
        parts.append("" if row.rest else _node(x, y, row.attacker))
        kind = "rest" if row.rest else "scope"
        parts.append(f'<text class="{kind}" x="{x + 10}" y="{y + 4:g}">{escape(row.text)}</text>')
        parts.append(_marks(row, y))
    said = ", ".join(f"{count} {tier}" for tier, count in tree.counts.items())
    return Markup(  # noqa: S704  texts are escaped above
        f'<svg class="chart tree" viewBox="0 0 {WIDTH} {len(rows) * ROW + 2}" role="img"'
        f' aria-label="A tree: {escape(said)}">{"".join(parts)}</svg>'
    )


def _node(x: float, y: float, attacker: bool) -> str:
    if attacker:
        return f'<path class="bad" d="M{x - 4} {y - 4:g}l8 8m0 -8l-8 8"/>'
    return f'<circle class="inner" cx="{x}" cy="{y:g}" r="4"/>'


def _marks(row: _Row, y: float) -> str:
    count, bad = row.devices
    if not count:
        return ""
    shown = min(count, MOST_MARKS)
    # Where there is no room for all, attackers keep their share; one is never lost.
    crosses = bad if shown == count else min(shown, max(bool(bad), round(bad * shown / count)))
    number = f"{count:,}"
    start = MARKS_END - 7 * len(number) - 6 - shown * 8
    parts = []
    for place in range(shown):
        x = start + place * 8
        if place < crosses:
            parts.append(
                f'<path class="bad" d="M{x - 2.7:.1f} {y - 2.7:.1f}l5.4 5.4m0 -5.4l-5.4 5.4"/>'
            )
        else:
            parts.append(f'<circle class="leaf" cx="{x}" cy="{y:g}" r="2.7"/>')
    text = f"{counted(count, 'device')}, {counted(bad, 'attacker')}"
    parts.append(
        f'<text class="tick" x="{MARKS_END}" y="{y + 4:g}" text-anchor="end">{number}</text>'
    )
    return f"<g><title>{escape(text)}</title>{''.join(parts)}</g>"


def _rows(nodes: Sequence[NodeEntry]) -> list[_Row]:
    parents = {node.parent for node in nodes}
    inner = [n for n in nodes if n.id in parents or n.tier != "device"]
    children: dict[int | None, list[NodeEntry]] = defaultdict(list)
    devices: dict[int | None, list[NodeEntry]] = defaultdict(list)
    known = {node.id for node in inner}
    for node in nodes:
        if node.id in known:
            children[node.parent if node.parent in known else None].append(node)
        else:
            devices[node.parent].append(node)
    most = max((len(of) for of in children.values()), default=0)
    while True:
        rows: list[_Row] = []
        _descend(None, 0, None, children, devices, most, rows)
        if len(rows) <= MOST_ROWS or most <= 1:
            return rows[: 2 * MOST_ROWS]
        most -= 1


def _descend(
    of: int | None,
    depth: int,
    parent: int | None,
    children: Mapping[int | None, Sequence[NodeEntry]],
    devices: Mapping[int | None, Sequence[NodeEntry]],
    most: int,
    rows: list[_Row],
) -> None:
    """Add the rows of a node's first ``most`` children and what lies below them."""
    mine = children.get(of, ())
    # One child more takes no more room than the row that says it is left out.
    shown = mine if len(mine) <= most + 1 else mine[:most]
    for node in shown:
        own = devices.get(node.id, ())
        last = node.scope.rstrip("/").rsplit("/", 1)[-1] or "root"
        text = last if len(last) <= 24 else f"{last[:23]}…"
        bad = sum(device.attacker for device in own)
        rows.append(_Row(depth, parent, text, node.attacker, (len(own), bad)))
        _descend(node.id, depth + 1, len(rows) - 1, children, devices, most, rows)
    if left := mine[len(shown) :]:
        count = bad = 0
        below = [node.id for node in left]
        while below:
            node_id = below.pop()
            count += len(devices.get(node_id, ()))
            bad += sum(device.attacker for device in devices.get(node_id, ()))
            below += [child.id for child in children.get(node_id, ())]
        text = f"{len(left)} more"
        rows.append(_Row(depth, parent, text, devices=(count, bad), rest=True))


def _by_counts(counts: Mapping[str, int]) -> list[_Row]:
    tiers = sorted(counts, key=tier_rank)
    rows: list[_Row] = []
    for depth, tier in enumerate(tiers):
        above = counts[tiers[depth - 1]] if depth else 0
        each = f" · {counts[tier] / above:,.3g} below each" if above else ""
        rows.append(_Row(depth, depth - 1 if depth else None, f"{tier}: {counts[tier]:,}{each}"))
    return rows
