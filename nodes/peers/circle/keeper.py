"""A parent's side of its circle: who may call, where children are dialled, the signed list of all.

The list follows from the membership and from what children said of their addresses. It is signed
anew when either changes, and when half of its life is over; its sequence never goes back.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from nodes.config.addresses import distinct
from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.peers.wire.caller import Caller
from nodes.state.node import Node
from nodes.trust.standing import standing_of
from protocol import Circle, CircleMember, Digest, NodeId, seal

CIRCLE_FILE = "circle-below.json"
LIFE_MS = 7 * 24 * 3600 * 1000
"""How long a list holds: siblings find each other for so long when the parent is gone."""
MOST_ADDRESSES = 8
MOST_PORT = 65_535


@dataclass(frozen=True)
class Contact:
    """What a parent knows of where a child is.

    Attributes:
        claimed: the addresses that the child names, each ``host:port``.
        swarm_port: 0 for none.
        dialled: those of them at which the parent reached it.
        tried_ms: when the parent tried last; 0: it has not.
    """

    claimed: tuple[str, ...] = ()
    swarm_port: int = 0
    dialled: tuple[str, ...] = ()
    tried_ms: int = 0


class CircleKeeper:
    """The circle below one node. Thread-safe.

    Args:
        manifest: the digest of the list of the base's files, empty for none.
        swarm_port: where this node takes part in the circle's swarm; 0 if it does not.
    """

    def __init__(
        self,
        node: Node,
        manifest: Callable[[], Digest],
        swarm_port: Callable[[], int] = lambda: 0,
    ) -> None:
        self._node, self._manifest, self._swarm_port = node, manifest, swarm_port
        self._lock = threading.Lock()
        self._file = node.home.folder / CIRCLE_FILE
        self._sequence, self._contacts = _read(self._file)
        self._signed: tuple[Circle, bytes] | None = None

    def identify(self, transport: Digest, address: str) -> Caller:
        """Find the child that has a transport key.

        Raises ``NodeError``: ``not-a-member``, ``suspended``, ``revoked``, ``certificate-expired``.
        """
        membership = self._node.state.membership
        member = next((m for m in membership.members if m.transport == transport), None)
        if member is None:
            raise NodeError("not-a-member", "No member of this node has this transport key.")
        certificate = self._node.certificate_of(member.node)
        standing_of(membership, member.node, certificate, self._node.clock.now_ms()).require()
        return Caller(member.node, member.role, member.name, address)

    def heard(self, child: NodeId, addresses: Sequence[str], swarm_port: int) -> None:
        """Take what a child says of where it can be dialled; it says so again in every report.

        Raises ``NodeError`` ``bad-address``.
        """
        claimed = distinct(addresses[:MOST_ADDRESSES])
        if swarm_port > MOST_PORT:  # else no list could be signed any more, for anybody
            raise NodeError("bad-address", f"{swarm_port} is no port of a swarm.")
        with self._lock:
            known = self._contacts.get(child, Contact())
            if (claimed, swarm_port) != (known.claimed, known.swarm_port):
                still = tuple(a for a in known.dialled if a in claimed)
                self._contacts[child] = replace(
                    known, claimed=claimed, swarm_port=swarm_port, dialled=still, tried_ms=0
                )

    def dialled(self, child: NodeId, addresses: Sequence[str], now_ms: int) -> None:
        """Note at which addresses a child was reached."""
        with self._lock:
            known = self._contacts.get(child, Contact())
            self._contacts[child] = replace(known, dialled=tuple(addresses), tried_ms=now_ms)
            self._write()

    def contacts(self) -> dict[NodeId, Contact]:
        """Return the contacts of the active members."""
        active = set(self._node.state.membership.active)
        with self._lock:
            return {child: c for child, c in self._contacts.items() if child in active}

    def current(self) -> tuple[Circle, bytes]:
        """Return the present list and its signed envelope."""
        members, manifest, swarm_port = self._members(), self._manifest(), self._swarm_port()
        with self._lock:
            now = self._node.clock.now_ms()
            if self._signed:
                circle, _ = self._signed
                is_young = circle.issued_ms <= now < circle.issued_ms + LIFE_MS // 2
                signed = circle.members, circle.manifest, circle.swarm_port
                if is_young and signed == (members, manifest, swarm_port):
                    return self._signed
            # From the clock, so that it does not go back when the file is lost.
            self._sequence = max(self._sequence + 1, now)
            circle = Circle(
                network=self._node.home.network.network,
                node=self._node.home.id,
                sequence=self._sequence,
                members=members,
                manifest=manifest,
                issued_ms=now,
                expires_ms=now + LIFE_MS,
                swarm_port=swarm_port,
            )
            self._signed = circle, seal(circle, self._node.home.key).encode()
            self._write()
            return self._signed

    def _members(self) -> tuple[CircleMember, ...]:
        membership, contacts = self._node.state.membership, self.contacts()
        members = (membership.get(child) for child in membership.active)
        return tuple(
            CircleMember(
                node=member.node,
                name=member.name,
                role=member.role,
                transport=member.transport,
                addresses=contacts.get(member.node, Contact()).dialled,
                swarm_port=contacts.get(member.node, Contact()).swarm_port,
            )
            for member in members
            if member is not None
        )

    def _write(self) -> None:
        contacts = {child: asdict(contact) for child, contact in self._contacts.items()}
        plain = {"sequence": self._sequence, "contacts": contacts}
        write_file(self._file, json.dumps(plain).encode())


def _read(file: Path) -> tuple[int, dict[NodeId, Contact]]:
    """Read what was kept; nothing of a file that is missing or damaged: children say it again."""
    try:
        plain = json.loads(file.read_text("utf-8"))
        contacts = {
            NodeId(child): Contact(
                distinct(kept["claimed"]),
                min(int(kept["swarm_port"]), MOST_PORT),
                distinct(kept["dialled"]),
                int(kept["tried_ms"]),
            )
            for child, kept in plain["contacts"].items()
        }
        return int(plain["sequence"]), contacts
    except (OSError, ValueError, TypeError, KeyError, AttributeError, NodeError):
        return 0, {}
