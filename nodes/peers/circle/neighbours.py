"""A child's connections to the other members of its circle: the parent, and siblings."""

from __future__ import annotations

import threading
from collections.abc import Callable

from nodes.peers.artefacts.remote import RemoteSource
from nodes.peers.artefacts.source import Source
from nodes.peers.circle.book import CircleBook
from nodes.peers.wire.client import Credentials, PeerChannel
from nodes.trust.link_certificates import peer_name
from protocol import CircleMember, NodeId


class Neighbours:
    """Whom one child can ask for artefacts. Thread-safe.

    Args:
        parent, to_parent: the circle's parent, and the calls to it.
        credentials: what this node shows, as they are now.
    """

    def __init__(
        self,
        parent: NodeId,
        to_parent: PeerChannel,
        book: CircleBook,
        credentials: Callable[[], Credentials],
    ) -> None:
        self._parent = RemoteSource(parent, to_parent, is_origin=True)
        self._book, self._credentials = book, credentials
        self._lock = threading.Lock()
        self._channels: dict[NodeId, tuple[tuple[str, ...], PeerChannel]] = {}

    def sources(self) -> list[Source]:
        """Return the parent and the siblings that can be dialled now."""
        siblings = [
            RemoteSource(member.node, self.channel(member), is_origin=False)
            for member in self._book.siblings()
        ]
        return [self._parent, *siblings]

    def channel(self, member: CircleMember) -> PeerChannel:
        """Return the calls to a sibling."""
        with self._lock:
            known = self._channels.get(member.node)
            if known and known[0] == member.addresses:
                return known[1]
            addresses = member.addresses
            channel = PeerChannel(lambda: addresses, self._credentials, peer_name(member.node))
            self._channels[member.node] = addresses, channel
        if known:
            known[1].close()
        return channel

    def renew(self) -> None:
        """Make new connections: this node's certificate is another one."""
        with self._lock:
            channels = list(self._channels.values())
        for _, channel in channels:
            channel.renew()

    def close(self) -> None:
        """Close every connection to siblings."""
        with self._lock:
            channels, self._channels = self._channels, {}
        for _, channel in channels.values():
            channel.close()
