"""Real nodes as processes of their own, and what their ledgers say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nodes.state.ledger import Ledger, LedgerEntry

WAIT_S = 400


class Nodes:
    """Node processes, each ended by the id it was started with."""

    def __init__(self) -> None:
        self._running: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, folder: Path) -> None:
        arguments = ["node", "run", "--node", str(folder)]
        with (folder / "console.log").open("ab") as log:
            self._running[folder] = subprocess.Popen(
                [sys.executable, "-m", "nodes.cli", *arguments],
                stdout=log,
                stderr=log,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
            )

    def kill(self, folder: Path) -> None:
        process = self._running.pop(folder)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self, folder: Path) -> int:
        """SIGTERM; returns the exit status."""
        process = self._running.pop(folder)
        process.terminate()
        return process.wait(WAIT_S)

    def end(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


def events(folder: Path, kind: str) -> list[LedgerEntry]:
    with Ledger.open_read_only(folder / "ledger.sqlite") as ledger:
        return list(ledger.events([kind]))


def wait_for(condition: Callable[[], bool], limit_s: float = WAIT_S) -> None:
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
