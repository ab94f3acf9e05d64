"""Sync the admitted transport keys with the membership.

Members come and go in the ledger; the downlink admits exactly their transport keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import structlog

from nodes.state.node import Node
from protocol import Digest, NodeId

log = structlog.get_logger()


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
        return self._ids

    def child_of(self, flower_id: int) -> NodeId | None:
        """Return the active member that has this Flower node id. Thread-safe."""
        ids = dict(self._ids)
        return next((child for child, known in ids.items() if known == flower_id), None)
