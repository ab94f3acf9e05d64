"""The circle above a node: what it answers its siblings and its parent, and what it asks them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from nodes.config.peer_ports import PeerPorts, peer_addresses, peer_host
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.machine.retry import report
from nodes.machine.troubles import Troubles
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.artefacts.service import ArtefactService, Serving
from nodes.peers.artefacts.shelf import DescribedBase, Shelf
from nodes.peers.artefacts.standing import FILE as STANDING_FILE
from nodes.peers.artefacts.standing import FaultBook, Standing
from nodes.peers.artefacts.traffic import ByteCounts
from nodes.peers.below import Handlers, artefact_handlers
from nodes.peers.parent_link import ParentLink
from nodes.peers.wire.methods import PEER
from nodes.peers.wire.server import Listener, PeerServer
from nodes.state.node import Node
from nodes.trust.link_certificates import LINK_FILE

log = structlog.get_logger()

LOOK_EVERY_S = 2.0


class CircleAbove:
    """One node as a member of its parent's circle.

    Attributes:
        fetcher: gets artefacts from the parent and from siblings.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        ports: PeerPorts,
        link: ParentLink,
        base: DescribedBase,
        serving: Serving,
        counts: ByteCounts,
        troubles: Troubles,
        *,
        on_refused: Callable[[str, str], None],
    ) -> None:
        self._node, self._config, self._ports = node, config, ports
        self._link, self._troubles, self._on_refused = link, troubles, on_refused
        folder = node.home.folder
        standing = Standing(folder / STANDING_FILE, node.clock)
        self.fetcher = Fetcher(
            link.neighbours.sources,
            folder / "arriving",
            standing,
            node.clock,
            FaultBook(node, standing),
            on_bytes=counts.took,
        )
        self._artefacts = ArtefactService(Shelf(node, base, own=False), None, counts.gave, serving)
        self._server: PeerServer | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where siblings may reach this node; none where it does not share."""
        if self._server is None:
            return ()
        return peer_addresses(self._node.home, self._config, self._ports.siblings)

    def listen(self, stop: threading.Event) -> None:
        """Listen for siblings once this node has a link certificate, until ``stop``."""
        if not self._config.peers.share:
            return
        try:
            while not stop.wait(0 if self._server is None else LOOK_EVERY_S):
                if self._server is None and not self._try_to_listen():
                    stop.wait(LOOK_EVERY_S)
        finally:
            if self._server is not None:
                self._server.stop()

    def _try_to_listen(self) -> bool:
        if not (self._node.home.folder / LINK_FILE).exists():
            return False
        handlers: Handlers = artefact_handlers(self._artefacts)
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
        return True
