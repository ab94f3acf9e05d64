"""Claims about measured memory, on real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodes.machine.process_memory import MemorySampler, proportional_bytes, with_descendants
from tests.processes import started

MIB = 1024 * 1024

HOLDER = """
import sys
held = b"x" * (64 * 1024 * 1024)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def started_holder() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", HOLDER]
    with started(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        yield holder


def test_the_memory_of_another_process_is_counted() -> None:
    with started_holder() as holder:
        assert 64 * MIB < proportional_bytes([holder.pid]) < 128 * MIB
        holder.communicate()


def test_processes_are_summed_and_each_counted_once() -> None:
    me = os.getpid()
    with started_holder() as holder:
        both = proportional_bytes([me, holder.pid, me])
        assert both > proportional_bytes([holder.pid]) + MIB
        assert both < 2 * proportional_bytes([me]) + 128 * MIB
        holder.communicate()


def test_a_process_that_is_gone_counts_nothing() -> None:
    with started_holder() as holder:
        holder.communicate()
    assert proportional_bytes([holder.pid]) == 0


def test_descendants_are_found() -> None:
    with started_holder() as holder:
        assert {os.getpid(), holder.pid} <= set(with_descendants(os.getpid()))
        holder.communicate()
    assert with_descendants(holder.pid) == []


def test_the_peak_outlives_the_process_that_made_it() -> None:
    with started_holder() as holder:
        with MemorySampler(lambda: [holder.pid], every_s=0.01) as memory:
            holder.communicate()
        assert memory.peak > 64 * MIB
        assert memory.current == 0


def test_without_the_kernels_figure_private_memory_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a system without /proc/PID/smaps_rollup."""
    read_text = Path.read_text

    def unreadable(path: Path, *rest: str) -> str:
        if path.name == "smaps_rollup":
            raise FileNotFoundError(path)
        return read_text(path, *rest)

    with started_holder() as holder:
        monkeypatch.setattr(Path, "read_text", unreadable)
        assert 64 * MIB < proportional_bytes([holder.pid]) < 128 * MIB
        holder.communicate()
