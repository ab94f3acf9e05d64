"""The circle below a node: what it answers its children, and whoever joins or renews."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from nodes.config.peer_ports import peer_addresses, peer_host
from nodes.config.reach import present_addresses
from nodes.errors import NodeError
from nodes.parent.receipt_desk import ReceiptDesk
from nodes.peers.artefacts.holders import Holders
from nodes.peers.artefacts.service import ArtefactService
from nodes.peers.artefacts.shelf import Shelf
from nodes.peers.circle.attendance import Attendance
from nodes.peers.circle.keeper import CircleKeeper
from nodes.peers.circle.reach import Reach
from nodes.peers.door import Door, Whereabouts
from nodes.peers.joining.desk import EnrolmentDesk
from nodes.peers.joining.invitations import Invitations
from nodes.peers.parts import Handlers, PeerParts
from nodes.peers.receipts import ReceiptService
from nodes.peers.statuses.service import StatusService
from nodes.peers.swarm.circle_swarm import CircleSwarm
from nodes.peers.swarm.description import describe
from nodes.peers.swarm.session import Swarm, is_worth_it
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.client import Credentials, PeerChannel
from nodes.peers.wire.methods import ENROLMENT, PEER
from nodes.peers.wire.server import Listener, PeerServer, ServerTls
from nodes.state.records import ZERO
from nodes.trust.link_certificates import issue_link, link_is_due, peer_name
from nodes.trust.tls import authority_pem
from protocol import Digest, NodeId, peer_pb2

log = structlog.get_logger()

SHARE_EVERY_S = 10.0
"""Seconds between looks whether the base should go by swarm."""
DIAL_S = 4.0
"""Seconds within which a child has to answer its parent's dialling."""


class CircleBelow:
    """The peer service of one node for its children.

    Args:
        on_ready: told of a child that has something to send.
        on_refused: told of every refusal, in few words.
    """

    def __init__(
        self,
        parts: PeerParts,
        *,
        on_ready: Callable[[NodeId], None],
        on_refused: Callable[[str, str], None],
    ) -> None:
        node, config, ports = parts.node, parts.config, parts.ports
        self._node, self._config, self._ports = node, config, ports
        self._shelf, self._base = Shelf(node, parts.base, own=True), parts.base
        host = peer_host(config)
        self._swarm = CircleSwarm(
            node.home.folder / "arriving",
            host,
            ports.swarm,
            self._credentials,
            dict,  # it asks nobody: its children do
            node.clock,
        )
        self._torrents: dict[Digest, Digest] = {}
        self.keeper = CircleKeeper(node, lambda: self._shelf.manifest, lambda: self._swarm.port)
        self.attendance = Attendance(on_ready, self._notice)
        self._reach = Reach(self.keeper, self._dial, node.clock, self._tell_all)
        self._own_link, self._told = b"", (0, 0)
        statuses = StatusService(parts.own, parts.book, parts.troubles, self._answer_report)
        artefacts = ArtefactService(
            self._shelf,
            Holders(self._can_be_dialled),
            parts.counts.gave,
            parts.serving,
            lambda digest: self._torrents.get(digest, ZERO),
        )
        members: Handlers = {
            "Attend": self.attendance.attend,
            "Status": statuses.status,
            "Report": statuses.report,
            "WatchSnapshot": parts.snapshots.watch_snapshot,
            "Receipt": ReceiptService(ReceiptDesk(node)).receipt,
            **artefact_handlers(artefacts),
        }
        self._invitations = Invitations(node.home.folder)
        strangers: Handlers = {
            **Door(node, self.whereabouts).handlers,
            **EnrolmentDesk(node, self._invitations, self.whereabouts).handlers,
        }
        identify = self.keeper.identify
        self._server = PeerServer(
            [
                Listener(PEER, members, host, ports.port, self._tls, identify),
                Listener(ENROLMENT, strangers, host, ports.door, self._tls_of_door, None),
            ],
            now_ms=node.clock.now_ms,
            on_refused=on_refused,
        )

    # -- running

    def start(self) -> None:
        """Listen. Raises ``NodeError`` ``cannot-listen``."""
        self.keeper.current()  # describes the base, which may take a while, before anybody asks
        self._server.start()
        log.info("circle-open", peers=self._ports.port, door=self._ports.door)

    def run(self, stop: threading.Event) -> None:
        """Find out which children can be dialled, and share the base, until ``stop``."""
        sharing = threading.Thread(target=self._share, args=[stop], name="swarm", daemon=True)
        sharing.start()
        self._reach.run(stop)
        sharing.join()

    def stop(self) -> None:
        """Stop listening."""
        self._server.stop()
        self._swarm.close()
        self._invitations.close()

    @property
    def shared(self) -> frozenset[Digest]:
        """The artefacts that are described for the swarm."""
        return frozenset(self._torrents)

    def stop_sharing(self) -> None:
        """Leave the swarm; what was described for it stays so, and comes over gRPC."""
        self._swarm.close()

    def look(self) -> None:
        """Tell the children if there is a newer snapshot or circle; cheap when there is none."""
        self._swarm.tend()
        if self._newest() != self._told:
            self._tell_all()

    def whereabouts(self) -> Whereabouts:
        """Return where children reach this node at present."""
        home, config, ports = self._node.home, self._config, self._ports
        try:
            addresses = present_addresses(home, config)
        except NodeError:  # a machine without a network
            addresses = ()
        return Whereabouts(
            addresses=addresses,
            peers=peer_addresses(home, config, ports.port),
            doors=peer_addresses(home, config, ports.door),
        )

    @property
    def calls(self) -> Mapping[str, int]:
        """How many calls run, by the node or the address that makes them. Thread-safe."""
        return self._server.calls

    # -- what this node shows

    def _link(self) -> bytes:
        """Return this node's certificate in its circle, which it signs itself."""
        now = datetime.datetime.fromtimestamp(self._node.clock.now_ms() / 1000, datetime.UTC)
        if not self._own_link or link_is_due(self._own_link, now):
            home = self._node.home
            self._own_link = issue_link(home.folder / "tls", home.key, home.certificate, now)
        return self._own_link

    def _authority(self) -> bytes:
        home = self._node.home
        return authority_pem(home.folder / "tls", home.key)

    def _credentials(self) -> Credentials:
        return Credentials(self._authority(), self._link(), self._node.home.transport_pem)

    def _tls(self) -> ServerTls:
        return ServerTls(self._link(), self._node.home.transport_pem, self._authority())

    def _tls_of_door(self) -> ServerTls:
        return ServerTls(self._link(), self._node.home.transport_pem, None)

    # -- what it answers and tells

    def _answer_report(
        self, caller: Caller, request: peer_pb2.ReportRequest
    ) -> peer_pb2.ReportReply:
        """Note where a child can be dialled; say who is in the circle, and where this node is."""
        self.keeper.heard(caller.member, list(request.addresses), request.swarm_port)
        circle, sealed = self.keeper.current()
        where = self.whereabouts()
        return peer_pb2.ReportReply(
            circle=sealed if circle.sequence > request.circle else b"",
            addresses=where.addresses,
            peers=where.peers,
            doors=where.doors,
        )

    def _share(self, stop: threading.Event) -> None:
        """Give the base's large files by swarm, once the circle has members enough for one."""
        if not Swarm.available():
            return
        while not stop.wait(SHARE_EVERY_S):
            manifest = self._base.manifest
            members = len(self._node.state.membership.active)
            for file in manifest.files if manifest else ():
                if file.sha256 in self._torrents or not is_worth_it(file.length, members):
                    continue
                try:
                    path = manifest.folder / file.name if manifest else Path()
                    torrent = describe(path)
                    self._swarm.share(path, torrent)
                except (NodeError, OSError) as error:
                    log.warning("not-shared", file=file.name, why=str(error))
                    return
                self._torrents[file.sha256] = self._shelf.offer(torrent)

    def _newest(self) -> tuple[int, int]:
        return self._node.state.sequence, self.keeper.current()[0].sequence

    def _notice(self) -> peer_pb2.ParentSays:
        snapshot, circle = self._newest()
        return peer_pb2.ParentSays(snapshot=snapshot, circle=circle)

    def _tell_all(self) -> None:
        self._told, notice = self._newest(), self._notice()
        self._server.call_soon(lambda: self.attendance.tell(notice))

    def _can_be_dialled(self, child: NodeId) -> bool:
        contact = self.keeper.contacts().get(child)
        return bool(contact and contact.dialled)

    def _dial(self, child: NodeId, address: str) -> None:
        """Connect to a child where it says it is. Raises ``PeerError``."""
        channel = PeerChannel(lambda: [address], self._credentials, peer_name(child))
        try:
            channel.ask("Status", peer_pb2.StatusRequest(), timeout_s=DIAL_S)
        finally:
            channel.close()


def artefact_handlers(artefacts: ArtefactService) -> Handlers:
    """Return the handlers of the calls about artefacts by their names."""
    return {
        "Locate": artefacts.locate,
        "Announce": artefacts.announce,
        "Fetch": artefacts.fetch,
    }
