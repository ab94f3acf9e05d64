"""Ending a long run from outside: both usual signals do the same."""

from __future__ import annotations

import signal


class terminable:  # noqa: N801  reads as the statement it is
    """Within it SIGTERM ends a run as Ctrl-C does, so that nothing is left running.

    Ctrl-C is set too: a shell that starts a job in the background has it ignored.
    """

    def __enter__(self) -> None:
        signals = (signal.SIGTERM, signal.SIGINT)
        self._before = {s: signal.signal(s, signal.default_int_handler) for s in signals}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
