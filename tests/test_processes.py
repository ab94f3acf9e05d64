"""A test that fails ends what it started."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from tests.processes import started

pytestmark = pytest.mark.slow

PARENT = """
import subprocess, sys
waiting = [sys.executable, "-c", "import sys; sys.stdin.read()"]
child = subprocess.Popen(waiting, stdin=subprocess.PIPE)
print(child.pid, flush=True)
child.wait()
"""


def test_a_failing_block_ends_its_process_and_what_that_started() -> None:
    with (
        pytest.raises(ZeroDivisionError),
        started([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as process,
    ):
        assert process.stdout
        child = psutil.Process(int(process.stdout.readline()))
        raise ZeroDivisionError
    assert process.returncode != 0
    _, alive = psutil.wait_procs([child], timeout=20)
    assert not alive
