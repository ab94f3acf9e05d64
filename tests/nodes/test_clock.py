"""Claims about time."""

from __future__ import annotations

import time

import pytest

from nodes.clock import Clock, ManualClock, SystemClock


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


def test_a_manual_clock_refuses_to_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)
