"""What a child's link says of itself: in its log, on its terminal, and in its list of troubles."""

from __future__ import annotations

import time

import structlog

from nodes.flower.diagnosis import explain
from nodes.flower.errors import LinkError
from nodes.machine.logs import tell
from nodes.machine.troubles import Troubles

log = structlog.get_logger()

A_FEW = 3
"""After so many failed tries in a row, a person is told."""
AGAIN_S, RARELY_S = 60.0, 3600.0
"""Seconds until a person is told again: doubling, up to the second."""
CLOCK_S = 60.0
"""How far the clocks of parent and child may differ unmentioned, in seconds; tasks and updates are
refused at twice that."""


class LinkReports:
    """Reports of one uplink.

    Args:
        troubles: where what goes on failing is kept for ``status``; None keeps it nowhere.
    """

    def __init__(self, troubles: Troubles | None) -> None:
        self._troubles = troubles
        self._failures = 0
        self._last = ""
        self._tell_at, self._pause_s = 0.0, AGAIN_S

    def failed(self, error: LinkError, address: str) -> None:
        """Report one failed try: log what is new, and tell a person of what stays."""
        self._failures += 1
        if error.code != self._last:
            log.warning("uplink-down", code=error.code, why=error.sentence, address=address)
            self._last = error.code
        if self._failures < A_FEW:
            return
        sentence = explain(error, address)
        if self._troubles:
            self._troubles.report("uplink", error.code, sentence)
        now = time.monotonic()
        if now >= self._tell_at:
            tell(f"uplink: {sentence} It goes on trying.")
            self._tell_at, self._pause_s = now + self._pause_s, min(2 * self._pause_s, RARELY_S)

    def connected(self, address: str) -> None:
        """Report that the link is up."""
        log.info("uplink-connected", address=address)
        if self._failures >= A_FEW:
            tell(f"uplink: connected to the parent at {address}.")
        self._failures, self._last = 0, ""
        self._tell_at, self._pause_s = 0.0, AGAIN_S
        if self._troubles:
            self._troubles.clear("uplink")

    def lost(self, error: LinkError, address: str) -> None:
        """Report that a link that was up is down."""
        log.warning("uplink-down", code=error.code, why=error.sentence, address=address)
        self._last = error.code

    def clock(self, ahead_s: float) -> None:
        """Report by how many seconds this machine's clock is ahead of the parent's."""
        if self._troubles is None:
            return
        if abs(ahead_s) <= CLOCK_S:
            self._troubles.clear("clock")
            return
        minutes = round(abs(ahead_s) / 60)
        apart = f"{minutes} minute{'s' if minutes != 1 else ''}"
        way = "ahead of" if ahead_s > 0 else "behind"
        self._troubles.report(
            "clock",
            "clock-differs",
            f"This machine's clock is {apart} {way} the parent's: set the one that is wrong. "
            "Until then this node goes by the time of its parent.",
        )
