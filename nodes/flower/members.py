"""Sync the admitted transport keys with the membership, and record refusals at the door.

Members come and go in the ledger; the downlink admits exactly their transport keys. Refusals at the
door are recorded in counts: an intruder who knocks a million times costs one line a second, not a
million.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Protocol

import structlog

from nodes.state.events import DoorRefused
from nodes.state.node import Node
from protocol import Digest, NodeId

log = structlog.get_logger()

FLUSH_EVERY_S = 1.0


class Door(Protocol):
    """The interface of a server that admits children by their transport keys."""

    def admit_child(self, transport_public_pem: bytes) -> int:
        """Admit the holder of this key; return its Flower node id."""

    def remove_child(self, flower_id: int) -> None:
        """Shut this child out."""


class MemberLinks:
    """The Flower node of each enrolled child."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._door: Door | None = None
        self._ids: dict[NodeId, int] = {}
        self._keys: dict[NodeId, Digest] = {}
        self._refused: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._flushed = 0.0

    def attach(self, door: Door) -> None:
        """Use this door from now on, and admit every member."""
        self._door = door
        self.flower_ids()

    def flower_ids(self) -> Mapping[NodeId, int]:
        """Sync the door with the membership; return the Flower node id of every active member."""
        if self._door is None:
            return {}
        membership = self._node.state.membership
        members = {c: m.transport for c in membership.active if (m := membership.get(c))}
        for child in [c for c, key in self._keys.items() if members.get(c) != key]:
            self._door.remove_child(self._ids.pop(child))
            del self._keys[child]
            log.info("member-shut-out", child=child[:12])
        for child in members.keys() - self._ids.keys():
            if certificate := self._node.certificate_of(child):
                self._ids[child] = self._door.admit_child(certificate.transport_key)
                self._keys[child] = members[child]
        if time.monotonic() - self._flushed > FLUSH_EVERY_S:
            self.flush()
        return self._ids

    def child_of(self, flower_id: int) -> NodeId | None:
        """Return the active member that has this Flower node id. Thread-safe."""
        ids = dict(self._ids)
        return next((child for child, known in ids.items() if known == flower_id), None)

    def refused_at_the_door(self, code: str, detail: str) -> None:
        """Count a refusal; the server's thread calls this."""
        with self._lock:
            self._refused[code, detail] += 1

    def flush(self) -> None:
        """Record the refusals counted since the last time."""
        with self._lock:
            refused, self._refused = self._refused, Counter()
        self._flushed = time.monotonic()
        for (code, detail), count in sorted(refused.items()):
            self._node.record(DoorRefused(code=code, detail=detail, count=count))
            log.warning("door-refused", code=code, detail=detail, count=count)
