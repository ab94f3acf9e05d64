"""``banyan tree``: the node you stand at, and all below it."""

from __future__ import annotations

import json as json_text
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nodes.cli.find import NodeOption, NodesOption, find
from nodes.cli.output import AsJson, console, one_sentence, print_json

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.text import Text
    from rich.tree import Tree as RichTree

    from nodes.dashboard.tree import Tree, TreeNode

app = typer.Typer()

REDRAW_EVERY_S = 2.0
MOST_REFUSALS = 8
"""Refused statuses that are shown; ``--json`` has all that are remembered."""

_COLUMNS = 10_000
_GB = 1_000_000_000
_UNITS = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s"))
_STYLES = {"active": "", "abstaining": "yellow", "lapsed": "yellow", "suspended": "yellow"}


@app.command("tree")
def tree(
    node: NodeOption = None,
    nodes: NodesOption = Path(),
    json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it again every 2 seconds, until Ctrl-C.")
    ] = False,
    depth: Annotated[
        int | None, typer.Option(min=0, help="Levels to show below the node; default: all.")
    ] = None,
) -> None:
    """Show a node and all below it: version, round, who is refused or abstains and why, disk.

    Every node says how it is, signed, at least twice a minute; those between pass that on and
    cannot change it. "seen" is when a node last said so, and by which way it came: the address at
    which it reaches its parent, and the names of those who passed it on. What is over 2 minutes old
    is marked stale. The node need not run. With --watch, --json prints one line for each drawing;
    docs/tree.md says what is in it.

    Examples:
      banyan tree --node /en --nodes runs/demo/nodes --depth 2
      banyan tree --node runs/root --watch
    """
    from nodes.dashboard.tree import read_tree
    from nodes.machine.clock import SystemClock

    with one_sentence():
        folder, clock = find(node, nodes), SystemClock()
        try:
            while True:
                current = read_tree(folder, clock)
                if json:
                    shown = current.top if depth is None else current.top.cut(depth)
                    _print_as_json(replace(current, top=shown), one_line=watch)
                else:
                    _draw(current, depth, clear=watch)
                if not watch:
                    return
                time.sleep(REDRAW_EVERY_S)
        except KeyboardInterrupt:
            if not watch:
                raise


def _print_as_json(current: Tree, *, one_line: bool) -> None:
    values = current.to_json()
    if one_line:
        sys.stdout.write(json_text.dumps(values) + "\n")
        sys.stdout.flush()
    else:
        print_json(values)


def _draw(current: Tree, depth: int | None, *, clear: bool) -> None:
    if clear:
        console.clear()
    # Where nobody sees columns, every node has one line, however long.
    drawn = drawing(current, depth)
    seen = console.is_terminal
    console.print(drawn if seen else _Uncut(drawn), crop=seen)
    for refusal in refusal_lines(current):
        console.print(refusal, soft_wrap=True)


class _Uncut:
    """Renders something as if there were columns without end."""

    def __init__(self, inner: RenderableType) -> None:
        self._inner = inner

    def __rich_console__(self, here: Console, options: ConsoleOptions) -> RenderResult:
        yield from here.render(self._inner, options.update(width=_COLUMNS))


def drawing(current: Tree, depth: int | None = None) -> RichTree:
    """Draw a tree, a line for each node."""
    from rich.tree import Tree as RichTree

    top = RichTree(line(current.top, current.now_ms, own=True, running=current.running))
    todo = [(top, current.top, depth)]
    while todo:
        branch, at, left = todo.pop()
        if left == 0:
            if at.children:
                branch.add(f"… {at.below} more below")
            continue
        for child in at.children:
            below = branch.add(line(child, current.now_ms))
            todo.append((below, child, None if left is None else left - 1))
    return top


def refusal_lines(current: Tree) -> Iterator[Text]:
    """Yield what was handed in and not taken, the latest first."""
    from rich.text import Text

    for refusal in current.refused[:MOST_REFUSALS]:
        times = "once" if refusal.count == 1 else f"{refusal.count} times"
        when = f"{times}, last {short(current.now_ms - refusal.last_ms)} ago"
        yield Text.assemble((refusal.code, "bold red"), f": {refusal.sentence} ({when})")
    if (more := len(current.refused) - MOST_REFUSALS) > 0:
        yield Text(f"… and {more} more refused statuses", style="dim")


def line(at: TreeNode, now_ms: int, *, own: bool = False, running: bool = True) -> Text:
    """Say of one node what a person wants to know, in one line."""
    from rich.text import Text

    text = Text(at.label, style="bold")
    if at.state != "active":
        since = f" for {short(now_ms - at.since_ms)}" if at.since_ms else ""
        why = f": {at.reason}" if at.reason not in ("", at.state) else ""
        text.append(f"  {at.state}{why}{since}", style=_STYLES.get(at.state, "red"))
    if own and not running:
        text.append("  not running: this is what its folder says", style="yellow")
    if at.is_stale(now_ms):
        text.append("  stale", style="bold yellow")
    rest = [*_facts(at, now_ms, own=own)]
    text.append("  " + " · ".join(rest), style="" if at.status else "dim")
    if at.status and at.status.troubles:
        codes = ", ".join(tally.code for tally in at.status.troubles)
        text.append(f" · trouble: {codes}", style="red")
    return text


def _facts(at: TreeNode, now_ms: int, *, own: bool) -> Iterator[str]:
    status = at.status
    if status is None:
        yield f"heard {short(now_ms - at.seen_ms)} ago" if at.seen_ms else "never heard"
        yield "no status here"
        return
    yield f"v{status.version}"
    if status.round:
        how = " open" if status.round_open else f" ({status.outcome})" if status.outcome else ""
        yield f"round {status.round}{how}"
    if not own:
        way = f" by {status.way}" if status.way else ""
        via = f" via {' › '.join(at.via)}" if at.via else ""
        yield f"seen {short(now_ms - at.seen_ms)} ago{way}{via}"
    yield f"{status.disk_free / _GB:.1f} GB free"
    yield f"member {_until(status.membership_until_ms, now_ms)}"
    if status.link_until_ms:
        yield f"link {_until(status.link_until_ms, now_ms)}"
    if status.hidden:
        yield f"{status.hidden} hidden below"


def _until(end_ms: int, now_ms: int) -> str:
    left = end_ms - now_ms
    return f"for {short(left)}" if left > 0 else f"ended {short(-left)} ago"


def short(ms: int) -> str:
    """Return a time in the largest unit that fits it: ``12 s``, ``3 min``, ``88 d``."""
    size, unit = next((each for each in _UNITS if ms >= each[0]), _UNITS[-1])
    return f"{max(ms, 0) // size} {unit}"
