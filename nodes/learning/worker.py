"""The process that computes for an ``IsolatedEngine``: it holds torch and the model, and ends.

It serves one connection, which it got from its parent; nobody else can reach it, so what comes over
it may be pickled. It ends when its parent does, however that ends: then its standard input closes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from nodes.config.sections import ModelSettings
from nodes.errors import NodeError
from nodes.learning.engine import TorchEngine
from nodes.machine.logs import configure
from nodes.machine.process_memory import trim
from nodes.state.home import open_home

METHODS = ("losses", "train")
_FIRST_TO_GO = "500"
"""Where memory runs out, the kernel shall end this process and not the node's."""


@dataclass(frozen=True)
class Start:
    """What the process is told first: whose model, with which settings."""

    folder: Path
    model: ModelSettings


@dataclass(frozen=True)
class Failure:
    """An error on its way to the parent; ``trace`` is for its log."""

    code: str
    sentence: str
    trace: str = ""


def main(descriptor: int) -> None:
    """Serve the connection of this descriptor until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO, "ascii")
    connection = Connection(descriptor)
    with contextlib.suppress(EOFError, OSError):  # the parent has closed it
        _serve(connection)


def _serve(connection: Connection) -> None:
    start: Start = connection.recv()
    engine: TorchEngine | None = None
    while True:
        method, arguments = connection.recv()
        result: Any
        try:
            if engine is None:
                home = open_home(start.folder, None)  # whether it may take part, its parent knows
                configure(None, "warning", home.certificate.name)
                # This process is what is let go of; until then the model stays.
                model = start.model.model_copy(update={"keep_loaded": True})
                engine = TorchEngine(home, model, threading.Event())
            if method not in METHODS:
                raise NodeError("unknown-method", f"An engine does not {method}.")
            result = getattr(engine, method)(*arguments)
        except Exception as error:
            result = _failure(error)
        connection.send(result)
        del result, arguments
        trim()


def _failure(error: Exception) -> Failure:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError):
        return Failure("not-enough-memory", "The memory did not suffice to compute.", trace)
    code, sentence = getattr(error, "code", None), getattr(error, "sentence", None)
    if code is not None and sentence is not None:
        return Failure(str(code), str(sentence), trace)
    return Failure("computing-failed", f"{type(error).__name__}: {error}"[:500], trace)


def _end_with_parent() -> None:
    """End this process, whatever it computes, when standard input closes."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)
