"""Find who sent wrong bytes in a swarm, and shut out its address for a while.

libtorrent hangs up on whom it suspects, but forgets that when the other side dials again. Only a
wrong piece that one peer sent alone proves anything; and a peer's address names a member only if
this node dialled it, for whoever dials in may come from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

Endpoint = tuple[str, int]
"""An IP address and a port."""
Sender = tuple[Endpoint, bool]
"""Who sent a block, and whether this node had dialled it."""

log = structlog.get_logger()

SHUT_OUT_S = 3600.0
TOLERATED = 8
"""Wrong pieces from an address that other members have too before all of them are shut out."""


@dataclass
class Blame:
    """What one session knows of its peers' faults. ``dialled``: the endpoints of members that were
    resolved, each with the address by which the member is known. ``named``: members that sent wrong
    bytes, in order."""

    dialled: dict[Endpoint, Endpoint] = field(default_factory=dict)
    named: list[Endpoint] = field(default_factory=list)
    _outgoing: set[Endpoint] = field(default_factory=set)
    _alive: set[Endpoint] = field(default_factory=set)
    _wrong: dict[str, int] = field(default_factory=dict)
    _shut_out: dict[str, float] = field(default_factory=dict)

    @property
    def shut_out(self) -> tuple[str, ...]:
        """The IP addresses that are to be refused now."""
        return tuple(self._shut_out)

    def connected(self, endpoint: Endpoint, *, outgoing: bool) -> None:
        """Note a connection. Blocks are told late, so an endpoint stays known as one that was
        dialled, until somebody at its address dials in, who may call itself the same."""
        if outgoing:
            self._outgoing.add(endpoint)
            self._alive.add(endpoint)
        else:
            closed = self._outgoing - self._alive
            self._outgoing -= {other for other in closed if other[0] == endpoint[0]}

    def disconnected(self, endpoint: Endpoint) -> None:
        """Note the end of a connection."""
        self._alive.discard(endpoint)

    def sender(self, endpoint: Endpoint) -> Sender:
        """Return what is to be remembered of who sent a block."""
        return endpoint, endpoint in self._outgoing

    def wrong_piece(self, senders: set[Sender], now: float) -> bool:
        """Judge those who sent the blocks of a wrong piece; return whether an address is shut out
        because of it."""
        if len(senders) != 1:
            return False
        [(endpoint, outgoing)] = senders
        address = endpoint[0]
        member = self.dialled.get(endpoint) if outgoing else None
        if member is not None and address not in self._shut_out:
            self.named.append(member)
        self._wrong[address] = self._wrong.get(address, 0) + 1
        others = any(each[0] == address and each != endpoint for each in self.dialled)
        if address in self._shut_out or (others and self._wrong[address] < TOLERATED):
            return False
        log.warning("swarm-shut-out", address=address, member=member)
        self._shut_out[address] = now + SHUT_OUT_S
        return True

    def let_in(self, now: float) -> bool:
        """Let in again who was shut out for long enough; return whether there was any."""
        over = [address for address, until in self._shut_out.items() if until <= now]
        for address in over:
            del self._shut_out[address], self._wrong[address]
        return bool(over)
