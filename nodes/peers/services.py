"""The peer service of one node: its listeners in the circles above and below, and what they say.

A node with children listens for them, and at a door of its own for whoever joins or renews. A node
with a parent, if it shares, listens for its siblings and its parent.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from nodes.config.peer_ports import peer_addresses, peer_host, peer_ports
from nodes.config.reach import present_addresses
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.peers.circle.attendance import Attendance
from nodes.peers.circle.keeper import CircleKeeper
from nodes.peers.circle.reach import Reach
from nodes.peers.door import Door, Whereabouts
from nodes.peers.parent_link import ParentLink
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.client import Credentials, PeerChannel
from nodes.peers.wire.methods import ENROLMENT, PEER
from nodes.peers.wire.server import Listener, PeerServer, ServerTls
from nodes.state.node import Node
from nodes.trust.link_certificates import issue_link, link_is_due, peer_name
from nodes.trust.tls import authority_pem
from protocol import Digest, NodeId, peer_pb2

log = structlog.get_logger()

DIAL_S = 4.0
"""Seconds within which a child has to answer its parent's dialling."""
REPORT_AGAIN_MS = 30_000

Handlers = Mapping[str, Callable[..., Any]]


class PeerServices:
    """The peer service of one node.

    Args:
        above: the ways to the parent; None at a root.
        on_ready: told of a child that has something to send.
        on_refused: told of every refusal, in few words.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        above: ParentLink | None,
        *,
        on_ready: Callable[[NodeId], None],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._node, self._config, self._above = node, config, above
        self._ports = peer_ports(node.home, config)
        self._below = config.downlink is not None and not node.home.is_device
        self.keeper = CircleKeeper(node, lambda: Digest(""))
        self.attendance = Attendance(on_ready, self._notice)
        self._reach = Reach(self.keeper, self._dial, node.clock, self._tell_all)
        self._own_link = b""
        self._told: tuple[int, int] = (0, 0)
        listeners = [*self._listeners_below(), *self._listeners_above()]
        self._server = PeerServer(listeners, now_ms=node.clock.now_ms, on_refused=on_refused)

    # -- running

    def start(self) -> None:
        """Listen. Raises ``NodeError`` ``cannot-listen``."""
        self._server.start()
        log.info("peers-listening", host=peer_host(self._config), ports=self._server.ports)

    def run(self, stop: threading.Event) -> None:
        """Find out which children can be dialled, until ``stop``."""
        if self._below:
            self._reach.run(stop)

    def stop(self) -> None:
        """Stop listening."""
        self._server.stop()

    def look(self) -> None:
        """Tell the children if there is a newer snapshot or circle; cheap when there is none."""
        if self._below and self._newest() != self._told:
            self._tell_all()

    # -- listeners

    def _listeners_below(self) -> list[Listener]:
        if not self._below:
            return []
        host, ports, door = peer_host(self._config), self._ports, Door(self._node, self.whereabouts)
        members: Handlers = {"Attend": self.attendance.attend, "Report": self._report}
        identify = self.keeper.identify
        return [
            Listener(PEER, members, host, ports.port, self._tls_below, identify),
            Listener(ENROLMENT, door.handlers, host, ports.door, self._tls_door, None),
        ]

    def _listeners_above(self) -> list[Listener]:
        if self._above is None or not self._config.peers.share:
            return []
        handlers: Handlers = {}
        host, port = peer_host(self._config), self._ports.siblings
        identify = self._above.book.identify
        return [Listener(PEER, handlers, host, port, self._above.server_tls, identify)]

    def whereabouts(self) -> Whereabouts:
        """Return where children reach this node at present."""
        try:
            addresses = present_addresses(self._node.home, self._config)
        except NodeError:  # a machine without a network
            addresses = ()
        home, config, ports = self._node.home, self._config, self._ports
        return Whereabouts(
            addresses=addresses,
            peers=peer_addresses(home, config, ports.port),
            doors=peer_addresses(home, config, ports.door),
        )

    # -- what this node shows

    def _tls_below(self) -> ServerTls:
        home = self._node.home
        authority = authority_pem(home.folder / "tls", home.key)
        return ServerTls(self._link(), home.transport_pem, authority)

    def _tls_door(self) -> ServerTls:
        return ServerTls(self._link(), self._node.home.transport_pem, None)

    def _link(self) -> bytes:
        """Return this node's certificate in the circle below, which it signs itself."""
        now = datetime.datetime.fromtimestamp(self._node.clock.now_ms() / 1000, datetime.UTC)
        if not self._own_link or link_is_due(self._own_link, now):
            home = self._node.home
            self._own_link = issue_link(home.folder / "tls", home.key, home.certificate, now)
        return self._own_link

    def forget_link(self) -> None:
        """Sign this node's own certificate anew: its authority is another one."""
        self._own_link = b""

    # -- the circle below

    def _report(self, caller: Caller, request: peer_pb2.ReportRequest) -> peer_pb2.ReportReply:
        """Take what a child reports; say what is new."""
        self.keeper.heard(caller.member, list(request.addresses), request.swarm_port)
        circle, sealed = self.keeper.current()
        where = self.whereabouts()
        return peer_pb2.ReportReply(
            circle=sealed if circle.sequence > request.circle else b"",
            addresses=where.addresses,
            peers=where.peers,
            doors=where.doors,
            again_ms=REPORT_AGAIN_MS,
        )

    def _newest(self) -> tuple[int, int]:
        return self._node.state.sequence, self.keeper.current()[0].sequence

    def _notice(self) -> peer_pb2.ParentSays:
        snapshot, circle = self._newest()
        return peer_pb2.ParentSays(snapshot=snapshot, circle=circle)

    def _tell_all(self) -> None:
        self._told, notice = self._newest(), self._notice()
        self._server.call_soon(lambda: self.attendance.tell(notice))

    def tell_to_renew(self, child: NodeId) -> None:
        """Let a child ask for its membership: something about it changed."""
        notice = peer_pb2.ParentSays(renew=True)
        self._server.call_soon(lambda: self.attendance.tell(notice, child))

    def _dial(self, child: NodeId, address: str) -> None:
        """Connect to a child where it says it is. Raises ``PeerError``."""
        home = self._node.home

        def credentials() -> Credentials:
            authority = authority_pem(home.folder / "tls", home.key)
            return Credentials(authority, self._link(), home.transport_pem)

        channel = PeerChannel(lambda: [address], credentials, peer_name(child))
        try:
            channel.ask("Status", peer_pb2.StatusRequest(nonce=b""), timeout_s=DIAL_S)
        finally:
            channel.close()
