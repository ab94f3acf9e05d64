"""Child processes end with their owner, and say what became of their jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nodes.errors import NodeError
from simulations.processes import ONE_THREAD, Say, Supervisor, environment, results, steps
from tests.processes import started

PATIENCE_S = 60.0
OWNER = """
import sys
from simulations.processes import results, terminable
from tests.simulations.test_processes import for_ever
with terminable():  # the shell that started the tests may have it ignore Ctrl-C
    list(results(for_ever, [sys.argv[1]] * 2, 2))
"""
BENCH = "from simulations.bench.robustness import run; run(seeds=50, only=('mean', 'median'))"


def for_ever(folder: str) -> None:
    """Says that it runs, then computes without an end."""
    (Path(folder) / str(os.getpid())).touch()
    while True:
        time.sleep(0.05)


def halves(job: int, say: Say) -> int:
    """Half of an even number; odd ones end the process or fail."""
    say("looking")
    if job == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if job == 3:
        raise ArithmeticError("three is odd")
    return job // 2


def children(owner: psutil.Process, count: int) -> list[psutil.Process]:
    deadline = time.monotonic() + PATIENCE_S
    while len(found := owner.children(recursive=True)) < count:
        assert time.monotonic() < deadline, "no children came"
        time.sleep(0.05)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_end_with_an_owner_that_is_killed(tmp_path: Path, sent: signal.Signals) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with started(command, stderr=subprocess.DEVNULL) as owner:
        deadline = time.monotonic() + PATIENCE_S
        while len(list(tmp_path.iterdir())) < 2:
            assert time.monotonic() < deadline, "no job began"
            time.sleep(0.05)
        processes = psutil.Process(owner.pid).children(recursive=True)
        assert {int(path.name) for path in tmp_path.iterdir()} <= {p.pid for p in processes}
        owner.send_signal(sent)
        _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert not alive


@pytest.mark.slow
def test_a_bench_that_is_killed_leaves_no_process() -> None:
    with environment({"OMP_NUM_THREADS": "2"}), started([sys.executable, "-c", BENCH]) as owner:
        processes = children(psutil.Process(owner.pid), 3)  # two, and what tracks their resources
        owner.kill()
        _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert not alive


def test_steps_tell_what_became_of_every_job() -> None:
    with Supervisor() as supervisor:
        told = [tuple(step) for step in steps(supervisor, halves, [0, 1, 2], 1)]
        assert len(supervisor.processes) == 2
    assert told == [
        (0, "began", None), (0, "said", "looking"), (0, "done", 0),
        (1, "began", None), (1, "said", "looking"), (1, "died", -signal.SIGKILL),
        (2, "began", None), (2, "said", "looking"), (2, "done", 1),
    ]  # fmt: skip
    assert not supervisor.pids


def test_an_error_in_a_job_reaches_the_owner_with_its_trace() -> None:
    with Supervisor() as supervisor, pytest.raises(NodeError, match="three is odd") as error:
        list(steps(supervisor, halves, [3], 1))
    assert error.value.code == "job-failed"


def test_children_compute_on_one_thread_unless_they_are_told_otherwise() -> None:
    names = list(ONE_THREAD)
    assert list(results(os.getenv, names, 1)) == ["1"] * len(names)
    told = {"OMP_NUM_THREADS": "3"}
    assert list(results(os.getenv, ["OMP_NUM_THREADS"], 1, environment=told)) == ["3"]


def test_a_process_that_ends_by_itself_ends_what_waits_for_it() -> None:
    with pytest.raises(NodeError, match="status 7") as error:
        list(results(os._exit, [7], 1))
    assert error.value.code == "process-died"
