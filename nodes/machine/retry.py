"""Keep a part of a process going: what fails is reported, and tried again after a growing pause."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from nodes.errors import NodeError
from nodes.machine.troubles import Troubles

log = structlog.get_logger()

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 300.0


def keep_trying(
    work: Callable[[], None],
    stop: threading.Event,
    troubles: Troubles,
    key: str,
    *,
    first_wait_s: float = FIRST_WAIT_S,
    longest_wait_s: float = LONGEST_WAIT_S,
) -> None:
    """Call ``work`` until it returns without an error, or ``stop`` is set.

    What it raises stands in ``troubles`` under ``key`` until it works again: until it returns, or
    has run for longer than the pause before it. Then pauses are short again, too.
    """
    wait_s = first_wait_s
    while not stop.is_set():
        started = time.monotonic()
        worked = threading.Timer(wait_s, troubles.clear, [key])
        worked.daemon = True
        worked.start()
        try:
            work()
        except Exception as error:
            if stop.is_set() or (isinstance(error, NodeError) and error.code == "stopped"):
                return
            if time.monotonic() - started > wait_s:
                wait_s = first_wait_s
            report(error, troubles, key)
        else:
            troubles.clear(key)
            return
        finally:
            worked.cancel()
        stop.wait(wait_s)
        wait_s = min(2 * wait_s, longest_wait_s)


def report(error: Exception, troubles: Troubles, key: str) -> None:
    """Report an error as a trouble; one without a code also with its traceback in the log."""
    code, sentence = str(getattr(error, "code", "")), getattr(error, "sentence", "")
    if code and sentence:
        log.warning("trouble", what=key, code=code, why=sentence)
    else:
        code = "no-memory" if isinstance(error, MemoryError) else "unexpected-error"
        sentence = f"{type(error).__name__}: {error}"[:300]
        log.error("trouble", what=key, code=code, why=sentence, exc_info=error)
    troubles.report(key, code, f"{sentence} It is tried again.")
