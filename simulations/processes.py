"""Child processes that end with their owner: at the end of its block, interrupted, or killed.

Every child watches a pipe that closes when its owner is gone, however that ended; nothing else is
needed where the owner has no chance to tidy up. Ctrl-C reaches the owner alone, which then ends
its children. What a child computes, it computes on one thread unless it is told otherwise.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple, Self

from nodes.errors import NodeError

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
GRACE_S = 15.0
"""Seconds between SIGTERM and SIGKILL."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

Say = Callable[[object], None]
"""What a job calls to report something before it is done."""


class Worker(NamedTuple):
    """A child and the owner's end of the pipe to it."""

    process: BaseProcess
    pipe: Connection


class Supervisor:
    """Child processes that end with the ``with`` block they are started in.

    Args:
        environment: variables that children have beside the owner's.
        preload: a module; children are forked from a server that has imported it. Without one each
            child is a fresh interpreter.
    """

    def __init__(self, environment: Mapping[str, str] = ONE_THREAD, preload: str = "") -> None:
        self._context: Any = multiprocessing.get_context("forkserver" if preload else "spawn")
        if preload:
            self._context.set_forkserver_preload([preload])
        self._environment = environment
        self.processes: list[BaseProcess] = []
        self._pipes: list[Connection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """The ids of the children that run now."""
        return [p.pid for p in self.processes if p.pid is not None and p.is_alive()]

    def start(
        self, target: Callable[..., None], *arguments: object, log: Path | None = None
    ) -> BaseProcess:
        """Start a child that calls ``target``; its output goes to ``log``, if given."""
        process: BaseProcess = self._context.Process(target=_child, args=(log, target, arguments))
        # Signals wait meanwhile: nobody would end a child that is half started.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            with environment(self._environment):
                process.start()
            self.processes.append(process)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return process

    def connect(self, target: Callable[..., None], *arguments: object) -> Worker:
        """Start a child that calls ``target`` with its end of a pipe as the first argument."""
        ours, theirs = self._context.Pipe()
        self._pipes.append(ours)
        process = self.start(target, theirs, *arguments)
        theirs.close()
        return Worker(process, ours)

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to those that do not go, and wait for every one."""
        for pipe in self._pipes:
            pipe.close()
        for process in self.processes:
            if process.is_alive():
                process.terminate()
        deadline = time.monotonic() + GRACE_S
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()


class Step(NamedTuple):
    """What a job has come to: ``began``, ``said`` and ``done`` with a value, or ``died`` with the
    exit status of its process (negative: a signal)."""

    job: Any
    kind: str
    value: Any = None


def steps(
    supervisor: Supervisor, do: Callable[[Any, Say], object], jobs: Iterable[object], count: int
) -> Iterator[Step]:
    """Call ``do`` on every job, on ``count`` children at once; each does one job after another.

    Raises ``NodeError`` ``job-failed`` with the traceback when ``do`` raises an error.
    """
    waiting, idle = deque(jobs), list[Worker]()
    busy: dict[Connection, tuple[Worker, object]] = {}
    while waiting or busy:
        while waiting and len(busy) < count:
            worker, job = idle.pop() if idle else supervisor.connect(_serve, do), waiting.popleft()
            busy[worker.pipe] = worker, job
            with suppress(OSError):  # it died meanwhile: so says the next look at its pipe
                worker.pipe.send(job)
            yield Step(job, "began")
        for pipe in busy.keys() & set(wait(list(busy))):
            worker, job = busy[pipe]
            try:
                kind, value = pipe.recv()
            except (EOFError, OSError):
                worker.process.join()
                kind, value = "died", worker.process.exitcode
            if kind == "failed":
                raise NodeError("job-failed", f"A process failed:\n{value}")
            yield Step(job, kind, value)
            if kind != "said":
                del busy[pipe]
            if kind == "done":
                idle.append(worker)


def results(
    do: Callable[[Any], object],
    jobs: Iterable[object],
    count: int,
    environment: Mapping[str, str] = ONE_THREAD,
) -> Iterator[Any]:
    """What ``do`` gives for every job, as they are done, from ``count`` processes.

    Raises ``NodeError``: ``job-failed``, ``process-died``.
    """
    with Supervisor(environment) as supervisor:
        for step in steps(supervisor, partial(_silently, do), jobs, count):
            if step.kind == "died":
                raise NodeError("process-died", f"A process ended with status {step.value}.")
            if step.kind == "done":
                yield step.value


@contextmanager
def terminable() -> Iterator[None]:
    """Within it SIGTERM ends a run as Ctrl-C does, so that nothing is left running.

    Ctrl-C is set too: a shell that starts a job in the background has it ignored.
    """
    before = {number: signal.signal(number, signal.default_int_handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ending_with_parent() -> Iterator[None]:
    """Within it this process gets SIGTERM when the process that started it is gone.

    For who is started by ``make`` or a script that may be killed: nobody would end it. A child
    that SIGKILL leaves behind is known by its other parent.
    """
    parent, over = os.getppid(), Event()

    def watch() -> None:
        while not over.wait(1.0):
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    watcher = Thread(target=watch, name="ending-with-parent", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Within it these variables are set, here and in processes that are started."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _silently(do: Callable[[Any], object], job: object, _: Say) -> object:
    return do(job)


def _child(log: Path | None, target: Callable[..., None], arguments: tuple[object, ...]) -> None:
    """In the new process. SIGINT stays blocked; SIGTERM unwinds, so that a child ends its own."""
    Thread(target=_end_with_owner, daemon=True).start()
    signal.signal(signal.SIGTERM, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(output.fileno(), stream.fileno())
    try:
        target(*arguments)
    finally:  # it is ending already: nothing is left to unwind
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _end_with_owner() -> None:
    owner = multiprocessing.parent_process()
    assert owner is not None  # noqa: S101  this is a child
    wait([owner.sentinel])
    os._exit(1)


def _leave(*_: object) -> None:
    raise SystemExit(128 + signal.SIGTERM)


def _serve(pipe: Connection, do: Callable[[Any, Say], object]) -> None:
    """Do the jobs that come through the pipe until it is closed."""

    def send(kind: str, value: object) -> None:
        try:
            pipe.send((kind, value))
        except OSError:  # nobody listens any more, which must not look like a failure of the job
            os._exit(1)

    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        try:
            value = do(job, partial(send, "said"))
        except Exception:
            send("failed", traceback.format_exc())
        else:
            send("done", value)
