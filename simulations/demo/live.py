"""What the demo shows while it runs: a live tree in a terminal, plain lines elsewhere.

The tree is the one of ``banyan tree``, from the root's folder: every node as it said itself,
signed, and as that came up to the root. Beside it stand what the ledgers here say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from nodes.dashboard.status import Status
from nodes.dashboard.tree import Tree, TreeNode
from protocol import Role, Scope
from simulations.tables import table

COLUMNS = ("node", "seen", "version", "round", "releases", "loss", "state")


class Progress:
    """Shows the state of every node. ``update`` as often as you like; it draws when needed.

    Args:
        goal: the releases of every scope after which it is done.
        began: the monotonic time from which it counts.
        read_tree: reads what is known of every node at the root; called on a terminal only.
    """

    def __init__(
        self,
        console: Console,
        goal: Mapping[Scope, int],
        began: float,
        read_tree: Callable[[], Tree],
    ) -> None:
        self._console, self._goal, self._read_tree = console, goal, read_tree
        self._began, self._stack = began, ExitStack()
        self._live = Live(console=console, refresh_per_second=4)
        self._lines: dict[Scope, str] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._stack.enter_context(self._live)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def update(self, statuses: Mapping[Scope, Status]) -> None:
        """Show the state of every node now, with what the ledgers of those with children say."""
        clock = timedelta(seconds=int(time.monotonic() - self._began))
        if self._console.is_terminal:
            tree = self._read_tree()
            rows = self._rows(tree.top, statuses, tree.now_ms)
            shown = table("", COLUMNS, rows, left=("state",), plain=True)
            for column in shown.columns[:-1]:
                column.no_wrap = True
            refused = [
                Text(f"refused at {scope}: {what}")
                for scope, status in statuses.items()
                if (what := _refusals(status))
            ]
            self._live.update(Group(shown, *refused, Text(f"{clock} elapsed", style="dim")))
            return
        for scope, status in statuses.items():
            line = (
                f"version {status.version}, round {status.round}, "
                f"{status.releases['round']} releases, {status.accepted} accepted, "
                f"refused: {_refusals(status) or 'none'}, loss {_loss(status)}"
            )
            if self._lines.get(scope) != line:
                self._lines[scope] = line
                text = f"{clock} {scope!s:28} {line}"
                self._console.print(text, highlight=False, soft_wrap=True)

    def _rows(
        self,
        at: TreeNode,
        statuses: Mapping[Scope, Status],
        now_ms: int,
        name: str = "/",
        lead: str = "",
        below: str = "",
    ) -> Iterator[list[object]]:
        """Yield a row for a node and for each below it; ``lead`` and ``below`` are branches."""
        yield self._row(at, statuses, now_ms, name, lead)
        for number, child in enumerate(at.children, 1):
            is_last = number == len(at.children)
            yield from self._rows(
                child,
                statuses,
                now_ms,
                child.name.removeprefix(f"{at.name}-"),
                below + ("└ " if is_last else "├ "),
                below + ("  " if is_last else "│ "),
            )

    def _row(
        self, at: TreeNode, statuses: Mapping[Scope, Status], now_ms: int, name: str, lead: str
    ) -> list[object]:
        seen = f"{(now_ms - at.seen_ms) // 1000} s" if at.seen_ms else "–"
        said = at.status
        if said is None or said.role is Role.DEVICE:
            return [Text.assemble((lead, "dim"), name), seen, *[""] * 4, _trouble(at)]
        here, goal = statuses[said.scope], self._goal[said.scope]
        done = here.releases["round"] >= goal
        return [
            Text.assemble((lead, "dim"), (name, "green" if done else "bold")),
            seen,
            said.version,
            f"{said.round}{'…' if said.round_open else ' '}",
            f"{here.releases['round']}/{goal}",
            _loss(here),
            _trouble(at),
        ]


def _trouble(at: TreeNode) -> Text:
    """Say what keeps a node out, or what it has not got to work."""
    what = [] if at.state == "active" else [at.state]
    if at.reason not in ("", at.state):
        what.append(at.reason)
    what += [tally.code for tally in at.status.troubles] if at.status else []
    return Text(", ".join(what), style="yellow")


def _refusals(status: Status) -> str:
    counts = dict(status.refused)
    counts |= {"outvoted": sum(status.outvoted.values()), "at the door": sum(status.door.values())}
    return ", ".join(f"{code} {count}" for code, count in sorted(counts.items()) if count)


def _loss(status: Status) -> str:
    if status.loss is None or status.first_loss is None:
        return "–"
    return f"{status.first_loss:.3f} → {status.loss:.3f}"
