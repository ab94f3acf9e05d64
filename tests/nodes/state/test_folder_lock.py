"""One folder, one daemon: the lock, its end with its process, and folders that cannot be used."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.state.folder_lock import FolderLock

HOLDER = """
import sys, time
from pathlib import Path
from nodes.state.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(120)
"""

FORKED = """
import os, sys
from pathlib import Path
from nodes.state.folder_lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
if os.fork() == 0:
    print(os.getpid(), flush=True)
sys.stdin.read()
"""


def _holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_daemon_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    process = _holder(tmp_path)
    try:
        with pytest.raises(NodeError, match=f"process {process.pid}") as refused:
            FolderLock(tmp_path)
        assert refused.value.code == "already-running"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with FolderLock(tmp_path):  # the kernel freed it
        pass
    with FolderLock(tmp_path):
        pass


def test_a_forked_child_does_not_hold_the_lock_after_its_parent(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKED, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.kill(child, 0)  # it lives
    FolderLock(tmp_path).release()
    process.stdin.close()  # and ends


def test_a_folder_that_was_deleted_or_replaced_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir()
    with FolderLock(folder) as lock:
        lock.check()
        shutil.rmtree(folder)
        with pytest.raises(NodeError) as gone:
            lock.check()
        assert gone.value.code == "folder-gone"
        folder.mkdir()
        with FolderLock(folder), pytest.raises(NodeError) as replaced:
            lock.check()
        assert replaced.value.code == "folder-gone"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EROFS, "read-only-folder"),
        (errno.EACCES, "read-only-folder"),
        (errno.ENOENT, "no-node"),
        (errno.EIO, "disk-error"),
    ],
)
def test_a_folder_that_cannot_be_locked_is_one_sentence(
    number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch, pytest.raises(NodeError) as refused:
        patch.setattr(os, "open", refuse)
        FolderLock(tmp_path)
    assert refused.value.code == code
    assert str(tmp_path) in refused.value.sentence
