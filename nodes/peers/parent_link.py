"""A child's ways to its parent, put together: addresses, questions, and the link for tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nodes.config.reach import ParentAddresses
from nodes.config.sections import UplinkSettings
from nodes.flower.calls import ServiceCalls
from nodes.machine.clock import Clock
from nodes.machine.troubles import Troubles
from nodes.peers.parent_client import ParentClient
from nodes.state.home import Home

if TYPE_CHECKING:
    from nodes.flower.uplink import Uplink


class ParentLink:
    """What a child knows of its parent, and how it asks for what is no task."""

    def __init__(self, home: Home, uplink: UplinkSettings, clock: Clock) -> None:
        self._home, self._poll_s = home, uplink.poll_s
        self.known = ParentAddresses(home, uplink.addresses)
        self.calls = ServiceCalls(
            lambda: self.known.in_turn, home.parent_ca, home.transport_pem, clock
        )
        self.client = ParentClient(
            home,
            clock,
            self.calls.signed,
            self.calls.unverified,
            on_authority=self._trust,
            on_addresses=self._move,
        )
        self._uplink: Uplink | None = None

    def connect(self, troubles: Troubles) -> Uplink:
        """Make the connection over which tasks come."""
        from nodes.flower.uplink import Uplink  # Flower is loaded once its switches are set

        self._uplink = Uplink(
            addresses=self.known.in_turn,
            ca_pem=self._home.parent_ca,
            transport_key_pem=self._home.transport_pem,
            poll_s=self._poll_s,
            troubles=troubles,
            on_connected=self.known.worked,
        )
        return self._uplink

    def ahead_ms(self) -> int:
        """Return by how much this machine's clock is ahead of the parent's, as far as is known."""
        return round(self._uplink.ahead_s * 1000) if self._uplink else 0

    def _trust(self, authority: bytes) -> None:
        self.calls.trust(authority)
        if self._uplink:
            self._uplink.set_authority(authority)

    def _move(self, addresses: Sequence[str]) -> None:
        if self.known.tell(addresses) and self._uplink:
            self._uplink.set_addresses(self.known.in_turn)
