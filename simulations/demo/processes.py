"""Starting the demo's nodes as processes and ending every one of them, whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from nodes.errors import NodeError

GRACE_S = 15.0
"""Seconds between SIGTERM and SIGKILL."""


@dataclass
class Processes:
    """A set of processes that ends with its ``with`` block, also when that is interrupted.

    Each process is also told to end with the one that started it, for the case that this one is
    killed without a chance to tidy up.
    """

    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """The ids of what runs now."""
        return [p.pid for p in self.running.values() if p.poll() is None]

    def start(self, name: str, module: str, arguments: list[str], log: Path) -> None:
        """Start ``python -m module`` with its output in ``log``."""
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONUNBUFFERED": "1",
        }
        with log.open("ab") as output:
            self.running[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends them all
            )

    def check(self) -> None:
        """Raises ``NodeError`` ``node-died`` when a process ended by itself with an error."""
        for name, process in self.running.items():
            if process.poll() not in (None, 0):
                raise NodeError(
                    "node-died", f"{name} ended with status {process.returncode}; see its log."
                )

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to those that do not go, and wait for every one."""
        for process in self.running.values():
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + GRACE_S
        for process in self.running.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
