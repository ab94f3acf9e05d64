"""An engine that computes in a process of its own, so that the node's process never holds torch.

Memory that torch, its libraries and a model took is never given back whole by the process that
loaded them; a process that ends gives all of it back. It starts with the first computation and ends
when there was none for a while. If it is killed, most likely for memory, the node goes on.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import structlog
from numpy.typing import NDArray

import nodes
from aggregation.replay import Portion
from nodes.config.sections import ModelSettings, TrainingSettings
from nodes.errors import NodeError
from nodes.learning.worker import Failure, Start
from nodes.model.probe import Probe
from nodes.state.home import Home

if TYPE_CHECKING:
    from nodes.model.learned import Learned

log = structlog.get_logger()

_POLL_S = 0.2
_END_S = 5.0
"""Seconds that the process has to end by itself."""
_MAIN = "import sys; from nodes.learning.worker import main; main(int(sys.argv[1]))"
_DIED = (EOFError, ConnectionError, BrokenPipeError)


@dataclass(frozen=True)
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection

    def end(self) -> None:
        """End the process: its connection and its standard input close."""
        self.connection.close()
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class IsolatedEngine:
    """The model of one node, in another process. Thread-safe: one computation at a time."""

    def __init__(self, home: Home, config: ModelSettings, stop: threading.Event) -> None:
        self._home, self._config, self._stop = home, config, stop
        self._lock = threading.RLock()
        self._worker: _Worker | None = None
        self._keepers = 0
        self._timer: threading.Timer | None = None

    def losses(
        self, thetas: Sequence[NDArray[np.float32]], probes: Mapping[str, Sequence[Probe]]
    ) -> list[dict[str, NDArray[np.float64]]]:
        """Measure several effective models; see ``TorchEngine.losses``."""
        plain = {source: list(of_source) for source, of_source in probes.items()}
        return cast("list[dict[str, NDArray[np.float64]]]", self._call("losses", thetas, plain))

    def train(
        self,
        theta: NDArray[np.float32],
        texts: Sequence[str],
        training: TrainingSettings,
        seed: int,
        old: Mapping[str, Sequence[str]],
        portion: Portion,
    ) -> Learned:
        """Train a delta on top of ``theta``; see ``nodes.model.learner``."""
        plain = {source: list(of_source) for source, of_source in old.items()}
        result = self._call("train", theta, list(texts), training, seed, plain, portion)
        return cast("Learned", result)

    @contextmanager
    def keep_loaded(self) -> Iterator[None]:
        """Keep the process and its model between computations, within the context."""
        with self._lock:
            self._keepers += 1
        try:
            yield
        finally:
            with self._lock:
                self._keepers -= 1
                self._end_when_idle()

    @property
    def pid(self) -> int | None:
        """The id of the process that computes; None while there is none."""
        worker = self._worker
        return worker.process.pid if worker else None

    def close(self) -> None:
        """End the process. A later computation would start another."""
        with self._lock:
            self._end()

    def _call(self, method: str, *arguments: Any) -> Any:
        """Let the process compute.

        Raises ``NodeError``: what it raised there; ``engine-died`` when the process was ended,
        ``stopped`` when this node was told to stop meanwhile.
        """
        with self._lock:
            self._keep()
            worker = self._started()
            try:
                worker.connection.send((method, arguments))
                while not worker.connection.poll(_POLL_S):
                    if self._stop.is_set():
                        self._kill()
                        raise NodeError("stopped", "The node was stopped while it computed.")
                result = worker.connection.recv()
            except _DIED:
                raise self._died(worker.process) from None
            finally:
                self._end_when_idle()
        if isinstance(result, Failure):
            log.warning("computing-failed", code=result.code, trace=result.trace)
            raise NodeError(result.code, result.sentence)
        return result

    # -- the process

    def _started(self) -> _Worker:
        worker = self._worker
        # Idle, it sends nothing: what can be read is the end of the connection.
        if worker and (worker.process.poll() is not None or worker.connection.poll()):
            self._end()  # it ended between two computations
        if self._worker is None:
            self._worker = self._start()
        return self._worker

    def _start(self) -> _Worker:
        started = time.monotonic()
        ours, theirs = socket.socketpair()
        root = str(Path(nodes.__file__).parent.parent)
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with theirs:
            process = subprocess.Popen(
                # Not -m: the module's classes would have another name there. -P: not from here.
                [sys.executable, "-P", "-c", _MAIN, str(theirs.fileno())],
                stdin=subprocess.PIPE,  # closes when this process ends, however it ends
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            )
        worker = _Worker(process, Connection(ours.detach()))
        with contextlib.suppress(*_DIED):  # the first computation says that it died
            worker.connection.send(Start(self._home.folder, self._config))
        log.info("engine-started", pid=process.pid, seconds=round(time.monotonic() - started, 2))
        return worker

    def _died(self, process: subprocess.Popen[bytes]) -> NodeError:
        self._kill()
        status = process.returncode
        killed = status is not None and -status == signal.SIGKILL
        how = f"signal {-status}" if status and status < 0 else f"status {status}"
        log.error("engine-died", pid=process.pid, how=how)
        likely = (
            " Most likely the memory of this machine ran out: end other programs, or choose a "
            "smaller base or [training] batch_size."
            if killed
            else " Its last words are on the standard error of this node."
        )
        return NodeError(
            "engine-died", f"The process that computes for this node ended ({how}).{likely}"
        )

    def _kill(self) -> None:
        if self._worker is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._worker.process.wait(_POLL_S)  # so that the status is its own
            self._worker.process.kill()
            self._end()

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_when_idle(self) -> None:
        """Let the process go after a while without a computation; the lock is held."""
        self._keep()
        if self._worker is None or self._keepers or self._config.keep_loaded:
            return
        self._timer = threading.Timer(self._config.idle_s, self._end_if_idle)
        self._timer.daemon = True
        self._timer.start()

    def _end_if_idle(self) -> None:
        with self._lock:
            if threading.current_thread() is self._timer:  # no computation came since
                self._end()

    def _end(self) -> None:
        self._keep()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()
            log.info("engine-ended", pid=worker.process.pid)
