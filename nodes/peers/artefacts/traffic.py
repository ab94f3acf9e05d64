"""How many bytes of artefacts a node gave and took, by whom."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from nodes.machine.clock import Clock
from nodes.machine.files import write_file
from protocol import NodeId
from protocol.ids import is_digest

log = structlog.get_logger()

FILE = "peer-traffic.json"
WRITE_EVERY_S = 1.0


class ByteCounts:
    """Counts bytes by node, and writes the counts into a file now and then. Thread-safe.

    Counting goes on where the file left off.
    """

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file, self._clock = file, clock
        self._lock = threading.Lock()
        stored = read_traffic(file)
        self._given, self._taken = Counter(stored["given"]), Counter(stored["taken"])
        self._written: float | None = None
        self._changed = False

    @property
    def given(self) -> dict[NodeId, int]:
        """The bytes given to each node."""
        with self._lock:
            return dict(self._given)

    @property
    def taken(self) -> dict[NodeId, int]:
        """The bytes taken from each node."""
        with self._lock:
            return dict(self._taken)

    def gave(self, node: NodeId, count: int) -> None:
        """Count bytes that were given."""
        self._add(self._given, node, count)

    def took(self, node: NodeId, count: int) -> None:
        """Count bytes that came."""
        self._add(self._taken, node, count)

    def flush(self) -> None:
        """Write what was counted since the last time."""
        with self._lock:
            if self._changed:
                self._write()

    def _add(self, counts: Counter[NodeId], node: NodeId, count: int) -> None:
        with self._lock:
            counts[node] += count
            self._changed = True
            now = self._clock.monotonic()
            if self._written is None or now - self._written >= WRITE_EVERY_S:
                self._write()

    def _write(self) -> None:
        self._written, self._changed = self._clock.monotonic(), False
        data = {"given": self._given, "taken": self._taken}
        try:
            write_file(self._file, json.dumps(data, indent=1).encode())
        except OSError as error:
            log.debug("traffic-not-written", why=str(error))


def read_traffic(file: Path) -> Mapping[str, dict[NodeId, int]]:
    """Read the counts that a node wrote: ``given`` and ``taken``, bytes by node."""
    try:
        stored: Any = json.loads(file.read_bytes())
    except (OSError, ValueError):
        stored = {}
    return {side: _counts(stored, side) for side in ("given", "taken")}


def _counts(stored: Any, side: str) -> dict[NodeId, int]:
    counts = stored.get(side) if isinstance(stored, dict) else None
    pairs = counts.items() if isinstance(counts, dict) else ()
    return {NodeId(node): n for node, n in pairs if is_digest(node) and type(n) is int}
