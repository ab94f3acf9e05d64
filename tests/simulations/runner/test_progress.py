"""What a run shows of itself, and how long it says it will take."""

from __future__ import annotations

import io
import re

from rich.console import Console

from simulations.records import FailureRecord
from simulations.runner.progress import Display
from tests.simulations.runner.cells import small


def test_without_a_terminal_each_cell_has_a_line_and_a_failure_says_why() -> None:
    output = io.StringIO()
    one, two = small().cells[:2]
    with Display(Console(file=output), [one, two]) as display:
        display.start(one)
        display.tick(one, 0.5)
        display.end(one, None)
        display.start(two)
        failure = FailureRecord(
            id=two.id, name=two.name, code="crashed", sentence="It [fell] over."
        )
        display.end(two, failure)
    first, second = output.getvalue().splitlines()
    expected = r"cell 1 of 2 tree, attack.name=none, seed=0: done in 0:00:00(, about [\d:]+ left)?"
    assert re.fullmatch(expected, first)
    assert second == "cell 2 of 2 tree, attack.name=none, seed=1: crashed, It [fell] over."


def test_a_terminal_shows_the_cells_that_run_and_how_much_is_done() -> None:
    output = io.StringIO()
    one, two = small().cells[:2]
    with Display(Console(file=output, force_terminal=True, width=120), [one, two]) as display:
        display.start(one)
        display.tick(one, 0.5)
        display.end(one, None)
        display.start(two)
        display.tick(two, 0.5)
    shown = output.getvalue()
    assert "cell 1 of 2" in shown
    assert "attack.name=none, seed=1" in shown
    assert "75%" in shown
