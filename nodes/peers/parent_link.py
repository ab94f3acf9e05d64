"""A child's ways to its parent and its siblings, put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nodes.config.reach import ParentAddresses
from nodes.config.sections import UplinkSettings
from nodes.machine.clock import Clock
from nodes.machine.troubles import Troubles
from nodes.peers.circle.book import CircleBook
from nodes.peers.circle.neighbours import Neighbours
from nodes.peers.parent_client import ParentClient
from nodes.peers.wire.errors import PeerError
from nodes.peers.wire.server import ServerTls
from nodes.state.home import Home
from nodes.trust.link_certificates import LINK_FILE
from protocol import Digest, peer_pb2

if TYPE_CHECKING:
    from nodes.flower.uplink import Uplink


class ParentLink:
    """What a child knows of its parent and of its circle, and how it asks them."""

    def __init__(
        self, home: Home, uplink: UplinkSettings, clock: Clock, troubles: Troubles
    ) -> None:
        self._home, self._poll_s, self._troubles = home, uplink.poll_s, troubles
        self.known = ParentAddresses(home, uplink.addresses, uplink.doors)
        self.book = CircleBook(home, clock.now_ms)
        self.on_renewed: Callable[[], None] = lambda: None
        self.on_notice: Callable[[peer_pb2.ParentSays], None] = lambda _: None
        self.client = ParentClient(
            home,
            clock,
            self.known,
            troubles,
            on_authority=self._trust,
            on_addresses=self._move,
            on_notice=lambda said: self.on_notice(said),
            on_renewed=self._renewed,
        )
        assert home.parent is not None  # noqa: S101  a node with an uplink has one
        self.neighbours = Neighbours(
            home.parent.node, self.client.peers, self.book, self.client.credentials
        )
        self._uplink: Uplink | None = None

    @property
    def way(self) -> str:
        """The address at which the parent was reached last; empty if it never was."""
        return self.client.peers.last or next(iter(self.known.in_turn), "")

    def connect(self) -> Uplink:
        """Make the connection over which tasks come."""
        from nodes.flower.uplink import Uplink  # Flower is loaded once its switches are set

        self._uplink = Uplink(
            addresses=self.known.in_turn,
            ca_pem=self._home.parent_ca,
            transport_key_pem=self._home.transport_pem,
            poll_s=self._poll_s,
            troubles=self._troubles,
            on_connected=self.known.worked,
        )
        return self._uplink

    def manifest(self) -> Digest:
        """Return the digest of the list of the base's files, as the parent says.

        Asks the parent where it is not known yet. Raises ``PeerError``.
        """
        if not self.book.manifest:
            if not (self._home.folder / LINK_FILE).exists():
                self.client.renew()
            self.report(peer_pb2.ReportRequest(circle=self.book.sequence))
        if not self.book.manifest:
            raise PeerError("not-here", "The parent has no base yet; it is asked again.")
        return self.book.manifest

    def report(self, request: peer_pb2.ReportRequest) -> peer_pb2.ReportReply:
        """Report to the parent, and take in what it answers.

        Raises ``PeerError``, ``Refused`` for a circle that does not verify.
        """
        reply: peer_pb2.ReportReply = self.client.peers.ask("Report", request)
        if reply.circle:
            self.book.take(reply.circle)
        if self.known.tell(reply.addresses, reply.peers, reply.doors):
            self._move(self.known.in_turn)
        return reply

    def server_tls(self) -> ServerTls:
        """Return what this node shows to siblings that call it."""
        shown = self.client.credentials()
        assert shown.certificate and shown.key  # noqa: S101  a member has both
        return ServerTls(shown.certificate, shown.key, shown.authority)

    def close(self) -> None:
        """Close the connections to the parent's service and to siblings."""
        self.client.close()
        self.neighbours.close()

    def ahead_ms(self) -> int:
        """Return by how much this machine's clock is ahead of the parent's, as far as is known."""
        return round(self._uplink.ahead_s * 1000) if self._uplink else 0

    def _renewed(self) -> None:
        self.neighbours.renew()
        self.on_renewed()

    def _trust(self, authority: bytes) -> None:
        if self._uplink:
            self._uplink.set_authority(authority)

    def _move(self, addresses: Sequence[str]) -> None:
        if self._uplink:
            self._uplink.set_addresses(addresses)
