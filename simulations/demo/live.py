"""What the demo shows while it runs: a live tree in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nodes.dashboard.status import Status
from protocol import Scope


class Progress:
    """Shows the state of every scope. ``update`` as often as you like; it draws when needed."""

    def __init__(self, console: Console, goal: Mapping[Scope, int]) -> None:
        self._console, self._goal = console, goal
        self._started = time.monotonic()
        self._live: Live | None = None
        self._said: dict[Scope, str] = {}

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """One line of what is going on."""
        self._console.print(f"[dim]{self._clock()}[/] {line}", highlight=False, soft_wrap=True)

    def update(self, statuses: Mapping[Scope, Status]) -> None:
        """Show the state of every scope now."""
        if self._live:
            self._live.update(self._tree(statuses))
            return
        for scope, status in statuses.items():
            line = _line(status)
            if self._said.get(scope) != line:
                self._said[scope] = line
                self.say(f"{scope!s:28} {line}")

    def _tree(self, statuses: Mapping[Scope, Status]) -> Group:
        table = Table(box=None, pad_edge=False)
        for column in ("scope", "version", "round", "releases", "accepted", "refused", "loss"):
            table.add_column(column, justify="left" if column in {"scope", "refused"} else "right")
        for scope, status in statuses.items():
            name = str(scope).rpartition("/")[2] or "/"
            done = status.releases["round"] >= self._goal[scope]
            table.add_row(
                Text("  " * scope.tier + name, style="green" if done else "bold"),
                str(status.version),
                f"{status.round}{'…' if status.round_open else ' '}",
                f"{status.releases['round']}/{self._goal[scope]}",
                str(status.accepted),
                _refusals(status),
                _loss(status),
            )
        return Group(table, Text(f"{self._clock()} elapsed", style="dim"))

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"{minutes}:{seconds:02}"


def _line(status: Status) -> str:
    return (
        f"version {status.version}, round {status.round}, "
        f"{status.releases['round']} releases, {status.accepted} accepted, "
        f"refused: {_refusals(status) or 'none'}, loss {_loss(status)}"
    )


def _refusals(status: Status) -> str:
    counts = dict(status.refused)
    if outvoted := sum(status.outvoted.values()):
        counts["outvoted"] = outvoted
    if door := sum(status.door.values()):
        counts["at the door"] = door
    return ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))


def _loss(status: Status) -> str:
    if status.loss is None or status.first_loss is None:
        return "–"
    return f"{status.first_loss:.3f} → {status.loss:.3f}"
