"""What the demo shows while it runs: a live tree in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from nodes.dashboard.status import Status
from protocol import Scope
from simulations.tables import table


class Progress:
    """Shows the state of every scope. ``update`` as often as you like; it draws when needed."""

    def __init__(self, console: Console, goal: Mapping[Scope, int]) -> None:
        self._console, self._goal = console, goal
        self._started, self._stack = time.monotonic(), ExitStack()
        self._live = Live(console=console, refresh_per_second=4)
        self._lines: dict[Scope, str] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._stack.enter_context(self._live)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def update(self, statuses: Mapping[Scope, Status]) -> None:
        """Show the state of every scope now."""
        clock = timedelta(seconds=int(time.monotonic() - self._started))
        if self._console.is_terminal:
            tree = table("", COLUMNS, [self._row(*item) for item in statuses.items()], plain=True)
            self._live.update(Group(tree, Text(f"{clock} elapsed", style="dim")))
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

    def _row(self, scope: Scope, status: Status) -> list[object]:
        name = str(scope).rpartition("/")[2] or "/"
        style = "green" if status.releases["round"] >= self._goal[scope] else "bold"
        return [
            Text.assemble("  " * scope.tier, (name, style)),
            status.version,
            f"{status.round}{'…' if status.round_open else ' '}",
            f"{status.releases['round']}/{self._goal[scope]}",
            status.accepted,
            _refusals(status),
            _loss(status),
        ]


COLUMNS = ("scope", "version", "round", "releases", "accepted", "refused", "loss")


def _refusals(status: Status) -> str:
    counts = dict(status.refused)
    counts |= {"outvoted": sum(status.outvoted.values()), "at the door": sum(status.door.values())}
    return ", ".join(f"{code} {count}" for code, count in sorted(counts.items()) if count)


def _loss(status: Status) -> str:
    if status.loss is None or status.first_loss is None:
        return "–"
    return f"{status.first_loss:.3f} → {status.loss:.3f}"
