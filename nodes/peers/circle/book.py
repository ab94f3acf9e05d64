"""A child's side of its circle: the parent's signed list, kept for when the parent is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.peers.wire.caller import Caller
from nodes.state.home import Home
from protocol import (
    LIMITS,
    Circle,
    CircleMember,
    Code,
    Digest,
    Envelope,
    PublicKey,
    Refused,
    open_envelope,
    transport_digest,
)

log = structlog.get_logger()

BOOK_FILE = "circle.env"


class CircleBook:
    """The circle above one node. Thread-safe."""

    def __init__(self, home: Home, now_ms: Callable[[], int]) -> None:
        self._home, self._now_ms = home, now_ms
        self._lock = threading.Lock()
        self._file = home.folder / BOOK_FILE
        self._circle: Circle | None = None
        try:
            self._circle = self._verified(self._file.read_bytes())
        except (OSError, Refused):
            log.debug("no-circle")

    @property
    def sequence(self) -> int:
        """The sequence of the list held; 0 for none."""
        return self._circle.sequence if self._circle else 0

    @property
    def manifest(self) -> Digest:
        """The digest of the list of the base's files, as the parent says; empty if unknown."""
        return self._circle.manifest if self._circle else Digest("")

    @property
    def swarm_port(self) -> int:
        """Where the parent takes part in the circle's swarm; 0 if it does not."""
        return self._circle.swarm_port if self._circle else 0

    def take(self, envelope: bytes) -> bool:
        """Keep a newer list; return whether it is one.

        Raises ``Refused``: what does not verify, ``expired``, ``version-went-back``.
        """
        circle = self._verified(envelope)
        with self._lock:
            if circle.sequence < self.sequence:
                raise Refused(
                    Code.VERSION_WENT_BACK,
                    f"The circle has sequence {circle.sequence}; this node holds {self.sequence}.",
                )
            if circle.sequence == self.sequence:
                return False
            write_file(self._file, envelope)
            self._circle = circle
            return True

    def identify(self, transport: Digest, address: str) -> Caller:
        """Find the sibling, or the parent, that has a transport key.

        Raises ``NodeError`` ``not-a-member``.
        """
        parent = self._home.parent
        assert parent is not None  # noqa: S101  a root is in no circle above
        if transport == transport_digest(parent.transport_key):
            return Caller(parent.node, parent.role, parent.name, address)
        for member in self.present():
            if member.transport == transport:
                return Caller(member.node, member.role, member.name, address)
        raise NodeError("not-a-member", "No member of this circle has this transport key.")

    def present(self) -> tuple[CircleMember, ...]:
        """Return the members, this node included; none when the list has ended."""
        circle = self._circle
        if circle is None or self._now_ms() > circle.expires_ms + LIMITS.clock_skew_s * 1000:
            return ()
        return circle.members

    def siblings(self) -> tuple[CircleMember, ...]:
        """Return the others that can be dialled."""
        own = self._home.id
        return tuple(m for m in self.present() if m.addresses and m.node != own)

    def _verified(self, envelope: bytes) -> Circle:
        home, parent = self._home, self._home.parent
        assert parent is not None  # noqa: S101
        sealed = Envelope.decode(envelope, LIMITS)
        circle = open_envelope(sealed, Circle, PublicKey.from_raw(parent.public_key))
        if circle.network != home.network.network:
            raise Refused(Code.WRONG_NETWORK, "The circle belongs to another network.")
        if circle.node != parent.node:
            raise Refused(Code.WRONG_PARENT, "The circle is another node's.")
        if self._now_ms() > circle.expires_ms + LIMITS.clock_skew_s * 1000:
            raise Refused(Code.EXPIRED, "The list of the circle has ended.")
        return circle
