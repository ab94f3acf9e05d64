"""Another node as a source of artefacts, asked over gRPC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nodes.peers.artefacts.service import CHUNK, MOST_DIGESTS
from nodes.peers.artefacts.source import Location
from nodes.peers.wire.client import PeerChannel
from nodes.peers.wire.errors import PeerError
from protocol import Digest, NodeId, peer_pb2

ASK_S = 10.0
READ_S = 300.0
"""A call for a stretch of parts may take so long; who stalls is left before."""
_MOST_HOLDERS = 64


class RemoteSource:
    """One other member of a circle.

    Args:
        is_origin: whether it is the circle's parent.
    """

    def __init__(self, name: NodeId, channel: PeerChannel, *, is_origin: bool) -> None:
        self._name, self._channel, self._is_origin = name, channel, is_origin

    @property
    def name(self) -> NodeId:
        """The node."""
        return self._name

    @property
    def is_origin(self) -> bool:
        """Whether it is the circle's parent."""
        return self._is_origin

    def locate(self, digests: Sequence[Digest]) -> Sequence[Location]:
        """Ask what it has. Raises ``PeerError``."""
        located: list[Location] = []
        for start in range(0, len(digests), MOST_DIGESTS):
            asked = digests[start : start + MOST_DIGESTS]
            request = peer_pb2.LocateRequest(digests=map(bytes.fromhex, asked))
            reply = self._channel.ask("Locate", request, ASK_S)
            if [answer.digest.hex() for answer in reply.located] != list(asked):
                raise PeerError("bad-answer", "The answer is to another question.")
            located += map(_location, reply.located)
        return located

    def read(self, digest: Digest, offset: int, length: int) -> Iterator[bytes]:
        """Fetch a part of an artefact. Raises ``PeerError``."""
        request = peer_pb2.FetchRequest(digest=bytes.fromhex(digest), offset=offset, length=length)
        for chunk in self._channel.stream("Fetch", request, READ_S):
            if len(chunk.data) > CHUNK:
                raise PeerError("bad-answer", "A chunk is larger than is allowed.")
            yield chunk.data

    def announce(self, digests: Sequence[Digest]) -> None:
        """Tell it what is here now. Raises ``PeerError``."""
        for start in range(0, len(digests), MOST_DIGESTS):
            asked = digests[start : start + MOST_DIGESTS]
            request = peer_pb2.AnnounceRequest(digests=map(bytes.fromhex, asked))
            self._channel.ask("Announce", request, ASK_S)


def _location(answer: Any) -> Location:
    holders = tuple(NodeId(each.hex()) for each in answer.holders[:_MOST_HOLDERS])
    return Location(
        digest=Digest(answer.digest.hex()),
        here=answer.here,
        length=answer.length,
        holders=tuple(holder for holder in holders if len(holder) == 64),
        torrent=Digest(answer.torrent.hex() if len(answer.torrent) == 32 else ""),
    )
