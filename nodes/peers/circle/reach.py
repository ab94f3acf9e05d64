"""Find out which children can be dialled: at once when they name addresses, then once a day."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Protocol

import structlog

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.peers.circle.keeper import CircleKeeper, Contact
from protocol import NodeId

log = structlog.get_logger()

DAY_MS = 24 * 3600 * 1000
LOOK_EVERY_S = 2.0
SOON_S = 60.0
"""A child that keeps naming other addresses is dialled no more often than after so many seconds."""


class Dial(Protocol):
    """Connects to a child at one address and asks for its status; raises ``NodeError``."""

    def __call__(self, child: NodeId, address: str) -> None:
        """Return if that child answered there."""


class Reach:
    """Dials children back.

    Args:
        on_change: told when a child can be dialled that could not, or the other way round.
    """

    def __init__(
        self, keeper: CircleKeeper, dial: Dial, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._keeper, self._dial, self._clock, self._on_change = keeper, dial, clock, on_change
        self._tried: dict[NodeId, float] = {}

    def run(self, stop: threading.Event) -> None:
        """Dial whoever is due, until stopped."""
        while not stop.wait(LOOK_EVERY_S):
            for child, contact in self._keeper.contacts().items():
                if stop.is_set():
                    return
                if self._is_due(child, contact):
                    self._tried[child] = self._clock.monotonic()
                    self._try(child, contact)

    def _is_due(self, child: NodeId, contact: Contact) -> bool:
        if self._clock.monotonic() - self._tried.get(child, -math.inf) < SOON_S:
            return False
        since = self._clock.now_ms() - contact.tried_ms
        return contact.tried_ms == 0 or not 0 <= since < DAY_MS

    def _try(self, child: NodeId, contact: Contact) -> None:
        dialled = []
        for address in contact.claimed:
            try:
                self._dial(child, address)
            except NodeError as error:
                log.debug("not-dialled", child=child[:12], address=address, code=error.code)
            else:
                dialled.append(address)
        self._keeper.dialled(child, dialled, self._clock.now_ms())
        if tuple(dialled) != contact.dialled:
            log.info("reach-changed", child=child[:12], addresses=dialled)
            self._on_change()
