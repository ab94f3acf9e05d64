"""A process may open as many files as the system lets it, not only as many as it begins with."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nodes.machine.open_files import ENOUGH, raise_open_files

SAID = (
    "import resource; from nodes.machine.open_files import raise_open_files; "
    "print(raise_open_files(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
)


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits")
@pytest.mark.parametrize(("soft", "hard", "after"), [(128, 512, 512), (512, 512, 512)])
def test_it_is_raised_as_far_as_the_system_allows(soft: int, hard: int, after: int) -> None:
    command = f'ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-c", SAID],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(after), str(after)]


def test_it_is_not_raised_without_need() -> None:
    assert 0 < raise_open_files() <= ENOUGH
