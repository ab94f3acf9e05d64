"""What happened in one world, a line a step, and a digest of all of it."""

from __future__ import annotations

import hashlib
from collections import deque

SHOWN = 20
"""Lines that a failure prints."""


class Trace:
    """The last lines, and the digest of all lines."""

    def __init__(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._hash = hashlib.sha256()
        self._last: deque[str] = deque(maxlen=SHOWN)
        self.steps = 0

    def tell(self, now_ms: int, what: str) -> None:
        """One more step."""
        self.steps += 1
        line = f"{self.steps:5} {(now_ms - self._start_ms) / 1000:+12.3f}s {what}"
        self._hash.update(line.encode() + b"\n")
        self._last.append(line)

    @property
    def last(self) -> tuple[str, ...]:
        """The last lines."""
        return tuple(self._last)

    @property
    def digest(self) -> str:
        """SHA-256 of all lines, hexadecimal: the same for the same world."""
        return self._hash.hexdigest()
