"""What fails in a running process is reported, and tried again after a growing pause."""

from __future__ import annotations

import threading
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.clock import ManualClock
from nodes.machine.retry import keep_trying
from nodes.machine.troubles import Troubles, read_troubles


def test_it_is_tried_until_it_works_and_stands_in_the_troubles_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "troubles.json"
    troubles, stood = Troubles(file, ManualClock()), []
    errors = [OSError(24, "Too many open files"), NodeError("disk-full", "Free some space.")]

    def work() -> None:
        stood.append([(t.code, t.count) for t in read_troubles(file)])
        if errors:
            raise errors.pop(0)

    keep_trying(work, threading.Event(), troubles, "rounds", first_wait_s=0.01)
    assert stood == [[], [("unexpected-error", 1)], [("disk-full", 2)]]
    assert read_troubles(file) == ()


def test_the_pause_grows_to_its_limit(tmp_path: Path) -> None:
    waits: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            if len(waits) == 6:
                self.set()
            return self.is_set()

    def work() -> None:
        raise MemoryError

    troubles = Troubles(tmp_path / "troubles.json", ManualClock())
    keep_trying(work, Stop(), troubles, "rounds", first_wait_s=1, longest_wait_s=10)
    assert waits == [1, 2, 4, 8, 10, 10]
    assert troubles.standing[0].code == "no-memory"


def test_a_node_that_is_told_to_stop_does_not_try_again(tmp_path: Path) -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        raise NodeError("stopped", "It was told to stop.")

    troubles = Troubles(tmp_path / "troubles.json", ManualClock())
    keep_trying(work, threading.Event(), troubles, "rounds")
    assert (len(tries), troubles.standing) == (1, ())
