"""A member of the bench's circle that fetches over gRPC, from the origin and from who has it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from nodes.errors import NodeError
from nodes.machine.clock import SystemClock
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.artefacts.holders import Holders
from nodes.peers.artefacts.remote import RemoteSource
from nodes.peers.artefacts.service import ArtefactService, GiveLimits, Serving
from nodes.peers.artefacts.shelf import Shelf, Shelved
from nodes.peers.artefacts.source import Fault
from nodes.peers.artefacts.standing import Standing
from nodes.peers.wire.caller import Caller, transport_of
from nodes.peers.wire.client import Credentials, PeerChannel
from nodes.peers.wire.server import Listener, PeerServer, ServerTls
from nodes.trust.tls import peer_name
from protocol import Digest, NodeId, Role, peer_pb2
from simulations.bench.swarm.circle import (
    Bucket,
    Circle,
    Endpoint,
    Figures,
    Member,
    OnProgress,
    serve,
)

TRIES = 10
"""So often a receiver tries again when nobody answers."""


def run(pipe: Connection, circle: Circle, number: int) -> None:
    """Be the member ``number``, in a process."""
    serve(pipe, _Member(circle, circle.members[number]))


class _OneFile(Shelf):
    """Gives the artefact once it is here."""

    def __init__(self, circle: Circle, path: Path) -> None:
        self._artefact, self._path = circle.artefact, path

    def find(self, digest: Digest) -> Shelved | None:
        if digest != self._artefact.digest or not self._path.exists():
            return None

        def read(offset: int, length: int) -> bytes:
            with self._path.open("rb") as file:
                file.seek(offset)
                return file.read(length)

        return Shelved(digest, self._artefact.length, read)


class _Member:
    def __init__(self, circle: Circle, member: Member) -> None:
        self._circle, self._member, self._clock = circle, member, SystemClock()
        self._bucket = Bucket(circle.rate)
        self._sent = self._got = 0

    def start(self) -> Endpoint:
        circle, member = self._circle, self._member
        origin = member.part == "origin"
        limits = GiveLimits(in_all=len(circle.members) + 8)
        service = ArtefactService(
            _OneFile(circle, circle.artefact.path if origin else member.place),
            Holders() if origin else None,
            lambda _node, _count: None,
            Serving(limits, self._clock),
        )

        async def fetch(
            caller: Caller, request: peer_pb2.FetchRequest
        ) -> AsyncIterator[peer_pb2.Chunk]:
            for chunk in service.fetch(caller, request):
                await asyncio.sleep(self._bucket.wait_s(len(chunk.data)))
                self._sent += len(chunk.data)
                yield chunk

        names = {transport_of(each.link)[0]: each.node for each in circle.members}
        self._server = PeerServer(
            [
                Listener(
                    "Peer",
                    {"Locate": service.locate, "Announce": service.announce, "Fetch": fetch},
                    member.host,
                    0,
                    lambda: ServerTls(member.link, member.key, circle.authority),
                    lambda key, host: Caller(names[key], Role.DEVICE, "", host),
                )
            ],
            now_ms=self._clock.now_ms,
        )
        self._server.start()
        return member.host, self._server.ports[0]

    def fetch(self, everybody: Sequence[tuple[Member, Endpoint]], told: OnProgress) -> None:
        circle = self._circle
        given = Credentials(circle.authority, self._member.link, self._member.key)
        sources = [
            _source(member, endpoint, given)
            for member, endpoint in everybody
            if member != self._member
        ]
        faults: list[Fault] = []
        fetcher = Fetcher(
            lambda: sources,
            self._member.folder / "staging",
            Standing(self._member.folder / "standing.json", self._clock),
            self._clock,
            faults.append,
            on_bytes=self._count,
        )
        digest = Digest(circle.artefact.digest)
        most = circle.artefact.length
        for last in [False] * TRIES + [True]:
            try:
                fetcher.fetch(digest, self._member.place, most=most, on_progress=told)
            except NodeError as error:
                if last or error.code not in ("no-source", "stalled"):
                    raise
                time.sleep(1.0)  # as a node would: the origin did not answer in time
            else:
                break
        fetcher.announce([digest])

    def figures(self) -> Figures:
        return Figures(self._sent, self._got)

    def stop(self) -> None:
        self._server.stop()

    def _count(self, _node: NodeId, count: int) -> None:
        self._got += count


def _source(member: Member, endpoint: Endpoint, given: Credentials) -> RemoteSource:
    host, port = endpoint
    channel = PeerChannel(lambda: [f"{host}:{port}"], lambda: given, peer_name(member.node))
    return RemoteSource(member.node, channel, is_origin=member.part == "origin")
