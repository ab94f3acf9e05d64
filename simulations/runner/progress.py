"""What a run shows: bars in a terminal, a line for every cell elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from simulations.experiment.sweep import Cell
from simulations.records import FailureRecord

_FOR_EVER_S = 1e9
_WIDEST = 60


class Display:
    """Shows cells as they run. Used as a context; every method may be called at any time.

    Cells count by their cost: a network of ten times the devices takes about ten times as long.
    """

    def __init__(self, console: Console, cells: Sequence[Cell]) -> None:
        self._console, self._count, self._ended, self._done = console, len(cells), 0, 0
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal or not cells,
            speed_estimate_period=_FOR_EVER_S,
        )
        self._all = self._progress.add_task(self._counted, total=sum(c.cost for c in cells))
        self._running: dict[str, tuple[TaskID, float]] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, cell: Cell) -> None:
        """The cell begins."""
        name = cell.name if len(cell.name) <= _WIDEST else f"{cell.name[: _WIDEST - 1]}…"
        self._running[cell.id] = self._progress.add_task(f"  {name}", total=cell.cost), 0.0

    def tick(self, cell: Cell, fraction: float) -> None:
        """So much of it is done, from 0 to 1."""
        bar, _ = self._running[cell.id]
        self._running[cell.id] = bar, cell.cost * min(max(fraction, 0.0), 1.0)
        self._progress.update(bar, completed=self._running[cell.id][1])
        self._draw()

    def end(self, cell: Cell, failure: FailureRecord | None) -> None:
        """It is done, or failed."""
        bar, _ = self._running.pop(cell.id)
        took = self._progress.tasks[self._progress.task_ids.index(bar)].elapsed or 0.0
        self._progress.remove_task(bar)
        self._ended, self._done = self._ended + 1, self._done + cell.cost
        self._draw()
        if failure:
            self._print(f"{cell.name}: {failure.code}, {failure.sentence}")
        elif not self._console.is_terminal:
            left = self._progress.tasks[0].time_remaining
            then = f", about {timedelta(seconds=left)} left" if left else ""
            self._print(f"{cell.name}: done in {timedelta(seconds=round(took))}{then}")

    def _print(self, line: str) -> None:
        self._console.print(
            f"{self._counted} {line}", highlight=False, markup=False, soft_wrap=True
        )

    def _draw(self) -> None:
        part = sum(completed for _, completed in self._running.values())
        self._progress.update(self._all, completed=self._done + part, description=self._counted)

    @property
    def _counted(self) -> str:
        return f"cell {self._ended} of {self._count}"
