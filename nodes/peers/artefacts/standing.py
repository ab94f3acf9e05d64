"""Who gave wrong bytes, and until when he is not asked: ten minutes, then twice as long each time.

Kept in a small file, so that a restart pardons nobody; the ledger has every fault for good.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog

from nodes.machine.clock import Clock
from nodes.machine.files import write_file
from nodes.peers.artefacts.source import Fault
from nodes.state.events import PeerFaulted
from nodes.state.node import Node
from protocol import NodeId
from protocol.ids import is_digest

log = structlog.get_logger()

FIRST_MS, LONGEST_MS = 10 * 60_000, 24 * 3_600_000
FORGOTTEN_MS = 7 * LONGEST_MS
"""So long after its last pause a node's faults are forgotten."""
MAX_KNOWN = 4096
FILE = "peer-standing.json"


@dataclass(frozen=True)
class _Record:
    faults: int
    until_ms: int
    code: str


class Standing:
    """What is remembered of other nodes' faults. Thread-safe."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file, self._clock = file, clock
        self._lock = threading.Lock()
        self._records = _read(file)

    def may_ask(self, node: NodeId) -> bool:
        """Return whether a node may be asked now."""
        return self.paused_ms(node) == 0

    def paused_ms(self, node: NodeId) -> int:
        """Return for how long a node is not to be asked yet; 0 if it may be."""
        with self._lock:
            record = self._records.get(node)
        if record is None:
            return 0
        # A clock that was set back prolongs no pause beyond the longest.
        return min(max(0, record.until_ms - self._clock.now_ms()), LONGEST_MS)

    def faults(self, node: NodeId) -> int:
        """Return how often a node was at fault, as far as that is remembered."""
        with self._lock:
            record = self._records.get(node)
            return record.faults if record else 0

    def fault(self, node: NodeId, code: str) -> int:
        """Note a fault; return for how long the node is not asked, ms."""
        now = self._clock.now_ms()
        with self._lock:
            before = self._records.get(node)
            faults = before.faults + 1 if before else 1
            pause = min(FIRST_MS << min(faults - 1, 16), LONGEST_MS)
            self._records[node] = _Record(faults, now + pause, code)
            kept = sorted(self._records.items(), key=lambda item: item[1].until_ms, reverse=True)
            self._records = {n: r for n, r in kept[:MAX_KNOWN] if r.until_ms + FORGOTTEN_MS > now}
            data = {n: asdict(record) for n, record in self._records.items()}
            try:
                write_file(self._file, json.dumps(data, indent=1).encode())
            except OSError as error:
                log.warning("standing-not-written", why=str(error))
        return pause


class FaultBook:
    """Writes faults down: in the ledger, and in the standing of who made them."""

    def __init__(self, node: Node, standing: Standing) -> None:
        self._node, self._standing = node, standing

    def __call__(self, fault: Fault) -> None:
        """Write one down."""
        pause_ms = self._standing.fault(fault.peer, fault.code)
        log.warning(
            "peer-faulted",
            peer=fault.peer[:12],
            code=fault.code,
            why=fault.sentence,
            pause_s=pause_ms // 1000,
        )
        event = PeerFaulted(peer=fault.peer, code=fault.code, artefact=fault.artefact)
        self._node.record(event)


def _read(file: Path) -> dict[NodeId, _Record]:
    """Read what was written; what cannot be read is forgotten."""
    try:
        stored = json.loads(file.read_bytes())
        return {NodeId(n): _record(r) for n, r in stored.items() if is_digest(n)}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("standing-not-read", why=str(error))
        return {}


def _record(stored: Mapping[str, object]) -> _Record:
    faults, until_ms, code = stored["faults"], stored["until_ms"], stored["code"]
    if not (isinstance(faults, int) and isinstance(until_ms, int) and isinstance(code, str)):
        raise TypeError("it holds what is no record")
    return _Record(faults, until_ms, code)
