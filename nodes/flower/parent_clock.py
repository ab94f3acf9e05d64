"""The time at a parent's door, as both ends know it.

Requests are signed with a time, and the door admits each once and for minutes only. That must not
depend on two machines' clocks agreeing, nor on either standing still: the door's time starts at its
machine's and then follows the monotonic clock, and every answer says what it is. A child whose
stamp is refused learns the door's time from the refusal and is admitted at the next request.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

from nodes.machine.clock import Clock, SystemClock

TIME_HEADER = "banyan-time"
"""In every answer of the door: its time, and its machine's, both in microseconds since 1970."""

_SECOND_US = 1_000_000
_JUMP_US = 2 * _SECOND_US
"""How far a child's idea of the door's time may be off before it is set anew."""
_LATEST_US = 253_402_300_800 * _SECOND_US  # the year 10000
_EPOCH = datetime.fromtimestamp(0, UTC)


class DoorClock:
    """The time of one door: it never goes back, whatever is done to the machine's clock."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._start_us = self._clock.now_ms() * 1000
        self._since = self._clock.monotonic()
        self.start = _moment(self._start_us)

    def now(self) -> datetime:
        """Return the door's time."""
        return _moment(self._now_us())

    def header(self) -> bytes:
        """Write the value of ``TIME_HEADER``."""
        return b"%d %d" % (self._now_us(), self._clock.now_ms() * 1000)

    def _now_us(self) -> int:
        elapsed = self._clock.monotonic() - self._since
        return self._start_us + round(elapsed * _SECOND_US)


class ParentClock:
    """A child's idea of the time at its parent's door; used from several threads."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._base_us = self._clock.now_ms() * 1000 - self._monotonic_us()
        self._last_us = 0
        self._learned = False
        self._ahead_us = 0

    def stamp(self) -> datetime:
        """Return the door's time, as far as it is known. No two stamps are the same."""
        with self._lock:
            self._last_us = max(self._base_us + self._monotonic_us(), self._last_us + 1)
            return _moment(self._last_us)

    def learn(self, header: str | None) -> None:
        """Take the times that an answer names; ignore what is none."""
        try:
            door_us, machine_us = map(int, (header or "").split())
        except ValueError:
            return
        if not (0 <= door_us < _LATEST_US and 0 <= machine_us < _LATEST_US):
            return
        with self._lock:
            base_us = door_us - self._monotonic_us()
            if not self._learned or abs(base_us - self._base_us) > _JUMP_US:
                # Stamps may go back here: those used before belong to another time.
                self._base_us, self._last_us, self._learned = base_us, 0, True
            self._ahead_us = self._clock.now_ms() * 1000 - machine_us

    @property
    def ahead_s(self) -> float:
        """Seconds by which this machine's clock is ahead of the parent's; 0 until it is known."""
        return self._ahead_us / _SECOND_US

    def _monotonic_us(self) -> int:
        return round(self._clock.monotonic() * _SECOND_US)


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
