"""What a run shows of itself, and how long it says it will take."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from simulations.experiment.folder import Failure
from simulations.experiment.progress import Display, Remaining
from tests.simulations.experiment.cells import small

COSTS = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 1000), min_size=1)


@given(COSTS, st.floats(1, 1e4), st.data())
def test_an_estimate_is_exact_when_cells_take_what_they_cost(
    costs: dict[str, int], seconds: float, data: st.DataObject
) -> None:
    left = Remaining(costs)
    assert left.seconds(0) is None
    done = 0.0
    for cell, cost in costs.items():
        part = data.draw(st.floats(0.01, 1), label=cell)
        left.tick(cell, part)
        elapsed = seconds * (done + part * cost)
        assert left.seconds(elapsed) == pytest.approx(seconds * sum(costs.values()) - elapsed)
        left.end(cell)
        done += cost
    assert left.share == 1
    assert left.seconds(seconds) == 0


@given(COSTS, st.lists(st.floats(allow_nan=False)))
def test_a_share_stays_between_nothing_and_all(costs: dict[str, int], parts: list[float]) -> None:
    left = Remaining(costs)
    for part, cell in zip(parts, costs, strict=False):
        left.tick(cell, part)
        assert 0 <= left.share <= 1


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_come_with_cells_and_once_a_minute() -> None:
    said, clock = io.StringIO(), Clock()
    cells = small().cells[:2]
    with Display(Console(file=said), cells, clock) as display:
        display.start(cells[0])
        for second in range(1, 121):
            clock.now = float(second)
            display.tick(cells[0], second / 240)
        display.end(cells[0], None)
        display.start(cells[1])
        clock.now = 150
        display.end(cells[1], Failure(cells[1].id, cells[1].name, "crashed", "It [fell] over."))
    assert said.getvalue().splitlines() == [
        "1:00 12% done, about 7:00 left",
        "2:00 25% done, about 6:00 left",
        "2:00 cell 1 of 2 tree, attack.name=none, seed=0: done in 2:00, about 2:00 left",
        "2:30 cell 2 of 2 tree, attack.name=none, seed=1: crashed, It [fell] over.",
    ]


def test_a_terminal_shows_the_cells_that_run_and_what_is_left() -> None:
    said, clock = io.StringIO(), Clock()
    cells = small().cells[:2]
    console = Console(file=said, force_terminal=True, width=120)
    with Display(console, cells, clock) as display:
        display.start(cells[0])
        clock.now = 30
        display.tick(cells[0], 0.5)
        display.end(cells[0], None)
        display.start(cells[1])
    shown = said.getvalue()
    assert "cell 1 of 2" in shown
    assert "about 0:30 left" in shown
