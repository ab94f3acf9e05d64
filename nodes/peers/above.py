"""The circle above a node: what it answers its siblings and its parent, and what it asks them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import structlog

from nodes.child.receipt_book import ReceiptBook
from nodes.config.addresses import Address
from nodes.config.peer_ports import peer_addresses, peer_host
from nodes.errors import NodeError
from nodes.machine.retry import report
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.artefacts.service import ArtefactService
from nodes.peers.artefacts.shelf import Shelf
from nodes.peers.artefacts.source import Fault
from nodes.peers.artefacts.standing import FILE as STANDING_FILE
from nodes.peers.artefacts.standing import FaultBook, Standing
from nodes.peers.below import artefact_handlers
from nodes.peers.circle.sibling_watch import Installer, Sibling, SiblingWatch
from nodes.peers.parent_link import ParentLink
from nodes.peers.parts import Handlers, PeerParts
from nodes.peers.statuses.service import StatusService
from nodes.peers.swarm.circle_swarm import CircleSwarm
from nodes.peers.swarm.session import Swarm
from nodes.peers.wire.methods import PEER
from nodes.peers.wire.server import Listener, PeerServer
from nodes.state.records import ZERO
from nodes.trust.link_certificates import LINK_FILE
from protocol import LIMITS, CircleMember, Digest, NodeId, Refused, peer_pb2

log = structlog.get_logger()

LOOK_EVERY_S = 2.0
RECEIPTS_EVERY_S = 10.0
WATCH_S = 35.0
"""A question for news is answered after 30 s at the latest."""


class CircleAbove:
    """One node as a member of its parent's circle.

    Attributes:
        fetcher: gets artefacts from the parent and from siblings.
    """

    def __init__(
        self,
        parts: PeerParts,
        link: ParentLink,
        *,
        on_refused: Callable[[str, str], None],
        on_listening: Callable[[], None],
    ) -> None:
        node, config, counts = parts.node, parts.config, parts.counts
        self._node, self._config, self._ports = node, config, parts.ports
        self._link, self._troubles, self._on_refused = link, parts.troubles, on_refused
        self._on_listening = on_listening
        folder = node.home.folder
        standing = self._standing = Standing(folder / STANDING_FILE, node.clock)
        self._faults = FaultBook(node, standing)
        self._swarm = CircleSwarm(
            folder / "arriving",
            peer_host(config),
            parts.ports.swarm if node.home.is_device else 0,  # else it is that of the circle below
            link.client.credentials,
            self._swarm_members,
            node.clock,
            lambda who, digest: self._faults(Fault.wrong_bytes(who, digest)),
        )
        self.fetcher = Fetcher(
            link.neighbours.sources,
            folder / "arriving",
            standing,
            node.clock,
            self._faults,
            on_bytes=counts.took,
            swarm=self._swarm if config.peers.share and Swarm.available() else None,
        )
        shelf = Shelf(node, parts.base, own=False)
        self._artefacts = ArtefactService(shelf, None, counts.gave, parts.serving)
        self._snapshots = parts.snapshots
        self._statuses = StatusService(parts.own, None, parts.troubles)
        self._receipts = ReceiptBook(node, self._ask_receipt, link.ahead_ms)
        self._server: PeerServer | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where siblings may reach this node; none where it does not share."""
        if self._server is None:
            return ()
        return peer_addresses(self._node.home, self._config, self._ports.siblings)

    def about(self) -> peer_pb2.ReportRequest:
        """Return what a report says beside statuses: where this node can be dialled, perhaps."""
        return peer_pb2.ReportRequest(
            addresses=self.addresses,
            circle=self._link.book.sequence,
            swarm_port=self._swarm.port,
        )

    def renewed(self) -> None:
        """Use this node's new certificates in the swarm too."""
        self._swarm.renew()

    def rest(self) -> None:
        """Give up what is not used; called now and then."""
        self._swarm.tend()
        self._swarm.rest()

    def close(self) -> None:
        """Take no part in the swarm any more."""
        self._swarm.close()

    def _swarm_members(self) -> dict[tuple[str, int], NodeId]:
        """Return where the others of the circle take part in its swarm, and who they are."""
        parent, book = self._node.home.parent, self._link.book
        assert parent is not None  # noqa: S101  it has a circle above
        members = {
            (Address.parse(address).host, member.swarm_port): member.node
            for member in book.siblings()
            if member.swarm_port
            for address in member.addresses[:2]
        }
        if book.swarm_port:
            hosts = {Address.parse(address).host for address in self._link.known.peers}
            members |= {(host, book.swarm_port): parent.node for host in hosts}
        return members

    def listen(self, stop: threading.Event) -> None:
        """Listen for siblings once this node has a link certificate, until ``stop``."""
        if not self._config.peers.share:
            return
        try:
            while not (stop.is_set() or self._try_to_listen()):
                stop.wait(LOOK_EVERY_S)
            stop.wait()
        finally:
            if self._server is not None:
                self._server.stop()

    def _try_to_listen(self) -> bool:
        if not (self._node.home.folder / LINK_FILE).exists():
            return False
        handlers: Handlers = {
            "Status": self._statuses.status,
            "WatchSnapshot": self._snapshots.watch_snapshot,
            **artefact_handlers(self._artefacts),
        }
        host, port = peer_host(self._config), self._ports.siblings
        listener = Listener(
            PEER, handlers, host, port, self._link.server_tls, self._link.book.identify
        )
        now_ms = self._node.clock.now_ms
        server = PeerServer([listener], now_ms=now_ms, on_refused=self._on_refused)
        try:
            server.start()
        except NodeError as error:  # others take from the parent; this node works without
            server.stop()
            report(error, self._troubles, "siblings")
            return False
        self._troubles.clear("siblings")
        self._server = server
        self._on_listening()
        return True

    def watch_siblings(self, child: Installer, stop: threading.Event) -> None:
        """Learn of newer snapshots from siblings while the parent is silent, until ``stop``."""
        watch = SiblingWatch(
            self._node,
            child,
            siblings=self._siblings,
            fetch=self._fetch_adapter,
            clock=self._node.clock,
            randomness=self._node.randomness,
            troubles=self._troubles,
            on_refused=self._name_fault,
            on_installed=self._snapshots.notify,
        )
        while not stop.wait(LOOK_EVERY_S):
            if self._link.client.attends:
                watch.heard()
            try:
                watch.step(stop)
            except Exception as error:
                report(error, self._troubles, "siblings")

    def collect_receipts(self, stop: threading.Event) -> None:
        """Ask the parent what became of this node's updates, until ``stop``."""
        while not stop.wait(RECEIPTS_EVERY_S):
            try:
                self._receipts.step()
            except NodeError as error:
                log.debug("no-receipts", why=str(error))
            except Exception as error:
                report(error, self._troubles, "receipts")
            else:
                self._troubles.clear("receipts")

    def _siblings(self) -> list[Sibling]:
        def ask(member: CircleMember, request: peer_pb2.WatchRequest) -> peer_pb2.WatchReply:
            channel = self._link.neighbours.channel(member)
            reply: peer_pb2.WatchReply = channel.ask("WatchSnapshot", request, WATCH_S)
            return reply

        members = self._link.book.siblings()
        return [
            Sibling(member.node, member.name, partial(ask, member))
            for member in members
            if self._standing.may_ask(member.node)
        ]

    def _fetch_adapter(self, digest: Digest) -> bytes:
        return self.fetcher.get(digest, most=LIMITS.payload_bytes)

    def _name_fault(self, sibling: Sibling, refused: Refused) -> None:
        self._faults(Fault(sibling.node, refused.code.value, ZERO, refused.sentence))

    def _ask_receipt(self, update: Digest) -> tuple[bytes, bytes]:
        request = peer_pb2.ReceiptRequest(update=bytes.fromhex(update))
        reply = self._link.client.peers.ask("Receipt", request)
        return reply.receipt, reply.release
