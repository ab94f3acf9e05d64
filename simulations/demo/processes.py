"""Starting the demo's nodes as processes and ending every one of them, whatever happens."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType

from nodes.errors import NodeError

GRACE_S = 15.0
"""Seconds between SIGTERM and SIGKILL."""
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "TOKENIZERS_PARALLELISM": "false"}


class Processes:
    """A set of processes that ends with its ``with`` block, also when that is interrupted.

    They are forked from a server that has imported what they all need (``preload``). When this
    process is killed without a chance to tidy up, that server ends, and the nodes with it.
    """

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["simulations.demo.preload"])
        self.running: dict[str, BaseProcess] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """The ids of what runs now."""
        return [p.pid for p in self.running.values() if p.pid is not None and p.is_alive()]

    def start(self, name: str, target: Callable[..., None], *arguments: object, log: Path) -> None:
        """Start a process that calls ``target`` with its output in ``log``."""
        log.parent.mkdir(parents=True, exist_ok=True)
        before = {key: os.environ.get(key) for key in ENVIRONMENT}
        os.environ.update(ENVIRONMENT)  # the server takes them over when it starts
        process = self._context.Process(
            target=_run, args=(log, target, arguments), name=name, daemon=False
        )
        try:
            with _uninterrupted():  # a process half started would not be ended by anybody
                process.start()
                self.running[name] = process
        finally:
            for key, value in before.items():
                os.environ.pop(key) if value is None else os.environ.update({key: value})

    def check(self) -> None:
        """Raises ``NodeError`` ``node-died`` when a process ended by itself with an error."""
        for name, process in self.running.items():
            if process.exitcode not in (None, 0):
                raise NodeError(
                    "node-died", f"{name} ended with status {process.exitcode}; see its log."
                )

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to those that do not go, and wait for every one."""
        for process in self.running.values():
            if process.is_alive():
                process.terminate()
        deadline = time.monotonic() + GRACE_S
        for process in self.running.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put SIGINT and SIGTERM off until the end of the block."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda n, _: came.append(n))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _run(log: Path, target: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """In the new process: its own session, its own output, then ``target``."""
    os.setsid()  # Ctrl-C reaches the demo alone, which then ends them all
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
    os.close(output)
    target(*arguments)
