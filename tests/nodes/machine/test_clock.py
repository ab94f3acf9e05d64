"""Claims about time."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from nodes.machine.clock import Clock, ManualClock, SystemClock
from tests.nodes.toy import tree

DAY_MS = 86_400_000


@pytest.mark.parametrize("clock", [SystemClock(), ManualClock()])
def test_time_does_not_go_back(clock: Clock) -> None:
    first = clock.monotonic()
    assert clock.monotonic() >= first


def test_the_system_clock_tells_milliseconds_since_the_epoch() -> None:
    before = int(time.time() * 1000)
    assert before <= SystemClock().now_ms() <= int(time.time() * 1000) + 1


def test_a_manual_clock_moves_only_when_it_is_told_to() -> None:
    clock = ManualClock(now_ms=1000)
    clock.advance(1500)
    assert (clock.now_ms(), clock.monotonic()) == (2500, 1.5)


def test_setting_the_time_of_day_leaves_elapsed_time_alone() -> None:
    clock = ManualClock(now_ms=5000)
    clock.advance(1500)
    clock.set_to(1000)
    assert (clock.now_ms(), clock.monotonic()) == (1000, 1.5)


def test_a_manual_clock_refuses_to_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)


@pytest.mark.parametrize("restarts", [False, True])
def test_a_parent_whose_clock_is_set_back_goes_on_with_its_rounds(
    tmp_path: Path, base: Path, restarts: bool
) -> None:
    with tree(tmp_path, base) as made:
        right = made.clock
        root = made.root()
        root.toy.target = np.ones(root.node.size, np.float32)
        device = made.child(root, "device", "/", root.toy.target)
        root.node.clock = ManualClock(right.now_ms() + DAY_MS)
        away = root.members.pop("device")
        root.rounds()  # asks, and hears nothing
        root.node.clock = right
        if restarts:
            made.restart(root)
        assert root.parent is not None
        root.parent.step()
        root.close_round()
        assert [e.body["outcome"] for e in root.node.ledger.events(["round-closed"])] == ["void"]
        root.members["device"] = away
        root.rounds()
        assert root.node.state.rounds.counted == {device.node.home.id: 2}
