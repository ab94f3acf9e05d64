"""Time as a node sees it, so that a test or a simulation can be its master."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What a node asks about time."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC. It may jump when the machine's clock is set."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment. It never goes back; only differences mean something."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = 0

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return self._now_ms

    def monotonic(self) -> float:
        """Seconds that ``advance`` has added up to."""
        return self._elapsed_ms / 1000

    def advance(self, milliseconds: int) -> None:
        """Let time pass. A negative number of milliseconds is refused: time does not go back."""
        if milliseconds < 0:
            raise ValueError(f"Time does not go back, got {milliseconds} ms.")
        self._now_ms += milliseconds
        self._elapsed_ms += milliseconds
