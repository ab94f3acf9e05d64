"""What a run shows: bars in a terminal, plain lines elsewhere; and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from simulations.experiment.folder import Failure
from simulations.experiment.sweep import Cell

_DRAW_S = 0.1
"""The display changes no more often than this, however often cells tell."""
_LINE_S = 60.0
"""Without a terminal, a line at least this often."""
_WIDEST = 60


@dataclass
class Remaining:
    """How long a run still takes, from what it has done: cells that ended, and parts of others.

    Cells count by their cost: a network of ten times the devices takes about ten times as long.
    """

    costs: Mapping[str, int]
    done: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)

    def tick(self, cell: str, fraction: float) -> None:
        """So much of a running cell is done."""
        self.parts[cell] = min(max(fraction, 0.0), 1.0)

    def end(self, cell: str) -> None:
        """The cell has ended, well or not."""
        self.parts.pop(cell, None)
        self.done += self.costs[cell]

    @property
    def share(self) -> float:
        """Of all cost, what is done: 0 to 1."""
        total = sum(self.costs.values())
        partly = sum(self.costs[cell] * part for cell, part in self.parts.items())
        return min((self.done + partly) / total, 1.0) if total else 1.0

    def seconds(self, elapsed: float) -> float | None:
        """At the speed until now; None while nothing is done."""
        return elapsed * (1 / self.share - 1) if self.share > 0 else None


class Display:
    """Shows cells as they run. Used as a context; every method may be called at any time."""

    def __init__(
        self,
        console: Console,
        cells: Sequence[Cell],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console, self._count, self._clock = console, len(cells), clock
        self._left = Remaining({cell.id: cell.cost for cell in cells})
        self._began = self._said = self._drawn = clock()
        self._started: dict[str, float] = {}
        self._ended = 0
        self._bars: dict[str, TaskID] = {}
        self._all = TaskID(0)
        self._progress: Progress | None = None

    def __enter__(self) -> Display:
        if self._console.is_terminal and self._count:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=24),
                TaskProgressColumn(),
                TextColumn("[dim]{task.fields[note]}[/]"),
                console=self._console,
            )
            self._all = self._progress.add_task(self._counted(), total=1.0, note="")
            self._progress.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        if self._progress:
            for bar in self._bars.values():
                self._progress.remove_task(bar)
            self._progress.stop()

    def start(self, cell: Cell) -> None:
        """The cell begins."""
        self._started[cell.id] = self._clock()
        self._left.tick(cell.id, 0.0)
        if self._progress:
            name = cell.name if len(cell.name) <= _WIDEST else f"{cell.name[: _WIDEST - 1]}…"
            self._bars[cell.id] = self._progress.add_task(f"  {escape(name)}", total=1.0, note="")

    def tick(self, cell: Cell, fraction: float) -> None:
        """So much of it is done, from 0 to 1."""
        self._left.tick(cell.id, fraction)
        if self._clock() - self._drawn < _DRAW_S:
            return
        self._drawn = self._clock()
        if self._progress:
            self._draw(self._progress)
        elif self._clock() - self._said >= _LINE_S:
            self._say(f"{self._left.share:.0%} done{self._estimate()}")

    def end(self, cell: Cell, failure: Failure | None) -> None:
        """It is done, or failed."""
        took = _duration(self._clock() - self._started.pop(cell.id, self._began))
        self._left.end(cell.id)
        self._ended += 1
        if self._progress:
            if (bar := self._bars.pop(cell.id, None)) is not None:
                self._progress.remove_task(bar)
            self._draw(self._progress)
        if failure:
            self._say(f"{self._counted()} {cell.name}: {failure.code}, {failure.sentence}")
        elif not self._progress:
            self._say(f"{self._counted()} {cell.name}: done in {took}{self._estimate()}")

    def _draw(self, progress: Progress) -> None:
        for cell, bar in self._bars.items():
            progress.update(bar, completed=self._left.parts[cell])
        note = self._estimate().removeprefix(", ")
        progress.update(
            self._all, completed=self._left.share, description=self._counted(), note=note
        )

    def _say(self, line: str) -> None:
        self._said = self._clock()
        clock = _duration(self._clock() - self._began)
        self._console.print(f"[dim]{clock}[/] {escape(line)}", highlight=False, soft_wrap=True)

    def _counted(self) -> str:
        return f"cell {self._ended} of {self._count}"

    def _estimate(self) -> str:
        seconds = self._left.seconds(self._clock() - self._began)
        return "" if not seconds else f", about {_duration(seconds)} left"


def _duration(seconds: float) -> str:
    minutes, whole = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"
