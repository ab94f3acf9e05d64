"""Time as a node sees it, so that a test or a simulation can control it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The source of a node's time."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC. It may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment. It never goes back; only differences have
        meaning."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Return seconds of the machine's monotonic clock."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = 0

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        return self._now_ms

    def monotonic(self) -> float:
        """Return the seconds that ``advance`` has added up to."""
        return self._elapsed_ms / 1000

    def advance(self, milliseconds: int) -> None:
        """Move the clock forward. Raises ``ValueError`` for negative milliseconds."""
        if milliseconds < 0:
            raise ValueError(f"Time does not go back, got {milliseconds} ms.")
        self._now_ms += milliseconds
        self._elapsed_ms += milliseconds

    def set_to(self, now_ms: int) -> None:
        """Set the time of day, also back, as a person may: ``monotonic`` does not follow."""
        self._now_ms = now_ms
