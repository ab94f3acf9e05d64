"""Record refusals at a node's doors, in counts.

An intruder who knocks a million times costs one line of the ledger at each flush, not a million.
"""

from __future__ import annotations

import threading
from collections import Counter

import structlog

from nodes.state.events import DoorRefused
from nodes.state.node import Node

log = structlog.get_logger()

MOST_KINDS = 256
"""Different refusals that are told apart between two flushes."""


class DoorRefusals:
    """The refusals at one node's doors since the last flush. Thread-safe."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._refused: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def count(self, code: str, detail: str) -> None:
        """Count a refusal; it is quick, and may be called from a server's thread."""
        with self._lock:
            is_new = (code, detail) not in self._refused
            if is_new and len(self._refused) >= MOST_KINDS:
                detail = "From many places."
            self._refused[code, detail] += 1

    def flush(self) -> None:
        """Record the refusals counted since the last time."""
        with self._lock:
            refused, self._refused = self._refused, Counter()
        for (code, detail), count in sorted(refused.items()):
            self._node.record(DoorRefused(code=code, detail=detail, count=count))
            log.warning("door-refused", code=code, detail=detail, count=count)
