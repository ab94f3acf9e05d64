"""Claims about the machine-wide lease, between threads and between processes."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodes.machine.lease import Lease, LeaseAborted
from tests.processes import started

NEVER = threading.Event()

HOLDER = """
import sys, threading
from pathlib import Path
from nodes.machine.lease import Lease
with Lease(Path(sys.argv[1]), 1).hold(threading.Event()):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def started_holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        yield holder


def is_taken(lease: Lease) -> bool:
    """Whether somebody who gives up at once gets no slot."""
    stop, entered = threading.Event(), threading.Event()

    def attempt() -> None:
        try:
            with lease.hold(stop):
                entered.set()
        except LeaseAborted:
            pass

    waiter = threading.Thread(target=attempt)
    waiter.start()
    entered.wait(0.5)
    stop.set()
    waiter.join()
    return not entered.is_set()


def test_no_more_than_the_slots_are_held_at_one_time(tmp_path: Path) -> None:
    holding, most, lock = 0, 0, threading.Lock()
    everyone_met = threading.Barrier(2)

    def work(number: int) -> None:
        nonlocal holding, most
        with Lease(tmp_path, 2).hold(NEVER):
            with lock:
                holding += 1
                most = max(most, holding)
            if number < 2:
                everyone_met.wait()
            with lock:
                holding -= 1

    with ThreadPoolExecutor(2) as first:
        list(first.map(work, range(2)))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(2, 8)))
    assert most == 2


def test_a_slot_is_free_again_after_its_holder_left(tmp_path: Path) -> None:
    lease = Lease(tmp_path, 1)
    with lease.hold(NEVER):
        assert is_taken(lease)
    assert not is_taken(lease)


def test_a_slot_is_free_again_after_an_error(tmp_path: Path) -> None:
    lease = Lease(tmp_path, 1)
    with pytest.raises(RuntimeError), lease.hold(NEVER):
        raise RuntimeError
    assert not is_taken(lease)


def test_another_process_is_kept_waiting(tmp_path: Path) -> None:
    with started_holder(tmp_path) as holder:
        assert is_taken(Lease(tmp_path, 1))
        holder.communicate()
    assert not is_taken(Lease(tmp_path, 1))


def test_the_slot_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    with started_holder(tmp_path) as holder:
        holder.kill()
        holder.wait()
        with Lease(tmp_path, 1).hold(NEVER) as waited:
            assert waited >= 0


def test_a_waiter_is_told_when_the_node_stops(tmp_path: Path) -> None:
    lease, stop = Lease(tmp_path, 1), threading.Event()
    with lease.hold(NEVER), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lambda: lease.hold(stop).__enter__())
        stop.set()
        with pytest.raises(LeaseAborted) as aborted:
            waiting.result()
    assert aborted.value.code == "stopped"


class WatchedEvent(threading.Event):
    """An event that tells when somebody has waited for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waited = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        result = super().wait(timeout)
        self.waited.set()
        return result


def test_the_time_spent_waiting_is_reported(tmp_path: Path) -> None:
    lease, stop = Lease(tmp_path, 1), WatchedEvent()

    def wait_for_it() -> float:
        with lease.hold(stop) as waited:
            return waited

    with ThreadPoolExecutor(1) as pool:
        with lease.hold(NEVER):
            waiting = pool.submit(wait_for_it)
            stop.waited.wait()
        assert waiting.result() >= 0.09  # it waited for at least one interval


def test_a_lease_without_slots_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one slot"):
        Lease(tmp_path, 0)
