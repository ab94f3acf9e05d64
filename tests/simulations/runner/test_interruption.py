"""An interrupted run ends its processes and goes on to the same files."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.experiment import Settings
from simulations.records import NoteRecord, Record, Recorder
from tests.processes import started
from tests.simulations.runner.cells import contents, numbers, small, start

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0


def command(folder: Path, workers: int) -> list[str]:
    """Runs SMALL with cells that take for ever."""
    return [sys.executable, "-m", "tests.simulations.runner.cells", str(folder), str(workers)]


class Interrupted:
    """As ``numbers``, until so many records have been made in all."""

    def __init__(self, after: int) -> None:
        self._left = after

    def __call__(
        self,
        settings: Settings,
        seed: int,
        record: Recorder,
        tick: Callable[[float], None],
    ) -> None:
        def counted(what: Record) -> None:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
            record(what)

        numbers(settings, seed, counted, tick)


@given(st.lists(st.integers(0, 39), min_size=1, max_size=3))
def test_an_interrupted_run_goes_on_and_gives_the_same_files(moments: list[int]) -> None:
    with tempfile.TemporaryDirectory() as below:
        once, stopped = Path(below) / "once", Path(below) / "stopped"
        start(small(), once, numbers)
        kept = 0
        for moment in moments:
            try:
                outcome = start(small(), stopped, Interrupted(moment))
            except KeyboardInterrupt:
                done = contents(stopped)
                now = sum(name.endswith(".jsonl") and ".part." not in name for name in done)
                assert now >= kept
                kept = now
            else:
                assert outcome.done == 8
        start(small(), stopped, numbers)
        assert contents(stopped) == contents(once)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


def waiting_in(folder: Path) -> list[NoteRecord]:
    """The notes of cells that take for ever."""
    notes: list[NoteRecord] = []
    for part in folder.glob("cells/*.part.jsonl"):
        # Other cells record losses, and are soon done: their file may be gone by now.
        with suppress(FileNotFoundError):
            _, *lines = part.read_text("utf-8").split("\n")
            whole = [line for line in lines[:-1] if '"kind":"note"' in line]
            notes += map(NoteRecord.model_validate_json, whole)
    return notes


@pytest.mark.parametrize(
    ("workers", "sent"), [(1, signal.SIGINT), (2, signal.SIGINT), (2, signal.SIGTERM)]
)
def test_an_interrupt_ends_every_process_and_leaves_a_folder_to_go_on_with(
    tmp_path: Path, workers: int, sent: signal.Signals
) -> None:
    with started(command(tmp_path, workers), stderr=subprocess.PIPE) as run:
        until(lambda: len(waiting_in(tmp_path)) == workers)
        processes = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(sent)
        _, errors = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 130
    assert "Traceback" not in errors
    until(lambda: not any(process.is_running() for process in processes))
    assert not list(tmp_path.glob("cells/*.failed.json"))
    start(small(), tmp_path / "once", numbers)
    start(small(), tmp_path, numbers)
    assert contents(tmp_path / "cells") == contents(tmp_path / "once" / "cells")


def test_a_run_that_is_killed_leaves_no_process_and_a_folder_to_go_on_with(tmp_path: Path) -> None:
    with started(command(tmp_path, 2)) as run:
        until(lambda: len(waiting_in(tmp_path)) == 2)
        processes = psutil.Process(run.pid).children(recursive=True)
        run.kill()
    until(lambda: not any(process.is_running() for process in processes))
    assert not list(tmp_path.glob("cells/*.failed.json"))
    assert start(small(), tmp_path, numbers).done == 8


def test_processes_compute_on_one_thread(tmp_path: Path) -> None:
    with started(command(tmp_path, 2)) as run:
        until(lambda: len(waiting_in(tmp_path)) == 2)
        run.terminate()
    processes, threads = zip(*(note.text.split() for note in waiting_in(tmp_path)), strict=True)
    assert threads == ("1", "1")
    assert len(set(processes)) == 2
