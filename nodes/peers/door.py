"""What a parent answers whoever has no certificate of its circle: joining, renewing, its authority.

Nobody is believed for the connection: a request is proven by a token, by a member's own key, or
asks for what anybody may know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nodes.peers.wire.caller import Caller
from nodes.peers.wire.errors import PeerError
from nodes.state.node import Node
from nodes.trust.renewal import answer_renewal
from nodes.trust.tls import TlsFiles
from protocol import LinkAuthority, ProtocolError, peer_pb2, seal


@dataclass(frozen=True)
class Whereabouts:
    """Where a parent is reached at present, each ``host:port``.

    Attributes:
        addresses: of Flower's link.
        peers: of its service for members.
        doors: of the one for whoever joins or renews.
    """

    addresses: tuple[str, ...]
    peers: tuple[str, ...]
    doors: tuple[str, ...]


class Door:
    """The handlers of service ``Enrolment`` that need no token."""

    def __init__(self, node: Node, whereabouts: Callable[[], Whereabouts]) -> None:
        self._node, self._whereabouts = node, whereabouts

    @property
    def handlers(self) -> Mapping[str, Callable[[Caller, Any], Any]]:
        """The handlers by the names of the calls."""
        return {"Renew": self.renew, "Authority": self.authority}

    def renew(self, _: Caller, request: peer_pb2.RenewRequest) -> peer_pb2.RenewReply:
        """Sign new certificates for a member, which proves itself by its current key.

        Raises what ``answer_renewal`` refuses.
        """
        renewed, where = answer_renewal(self._node, request.renewal), self._whereabouts()
        return peer_pb2.RenewReply(
            path=renewed.path,
            link=renewed.link,
            authority=renewed.authority,
            addresses=where.addresses,
            peers=where.peers,
            doors=where.doors,
        )

    def authority(self, _: Caller, request: peer_pb2.AuthorityRequest) -> peer_pb2.AuthorityReply:
        """Say what certificates here chain to, over the asker's nonce.

        Raises ``PeerError`` ``malformed``.
        """
        home = self._node.home
        try:
            statement = LinkAuthority(
                network=home.network.network,
                node=home.id,
                nonce=request.nonce,
                authority=TlsFiles.in_folder(home.folder / "tls").ca.read_bytes(),
                issued_ms=self._node.clock.now_ms(),
            )
        except ProtocolError:
            raise PeerError("malformed", "A nonce has 32 bytes.") from None
        return peer_pb2.AuthorityReply(authority=seal(statement, home.key).encode())
