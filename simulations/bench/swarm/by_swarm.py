"""A member of the bench's circle that fetches through libtorrent."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection

from nodes.peers.swarm import engine
from nodes.peers.swarm.description import Description
from nodes.peers.swarm.session import Swarm
from simulations.bench.swarm.circle import Circle, Endpoint, Figures, Member, OnProgress, serve


def run(
    pipe: Connection, circle: Circle, number: int, torrent: bytes, spreads: bool, stalled_s: float
) -> None:
    """Be the member ``number``, in a process. ``spreads``: the origin gives each piece once."""
    member = circle.members[number]
    if member.part == "liar":
        serve(pipe, _Liar(circle, member, torrent))
    else:
        serve(pipe, _Member(circle, member, torrent, spreads, stalled_s))


class _Member:
    def __init__(
        self, circle: Circle, member: Member, torrent: bytes, spreads: bool, stalled_s: float
    ) -> None:
        self._circle, self._member, self._torrent = circle, member, torrent
        self._spreads, self._stalled_s = spreads, stalled_s

    def start(self) -> Endpoint:
        member, circle = self._member, self._circle
        self._swarm = Swarm(
            member.folder / "arriving",
            circle.authority,
            member.link,
            member.key,
            member.host,
            0,
            upload_limit=circle.rate or None,
        )
        if member.part == "origin":
            self._swarm.share(circle.artefact.path, self._torrent, origin=self._spreads)
        return member.host, self._swarm.port

    def fetch(self, everybody: Sequence[tuple[Member, Endpoint]], told: OnProgress) -> None:
        peers = [endpoint for member, endpoint in everybody if member != self._member]
        self._swarm.fetch(
            self._torrent,
            self._member.place,
            self._circle.artefact.digest,
            peers,
            told,
            stalled_s=self._stalled_s,
        )

    def figures(self) -> Figures:
        traffic = self._swarm.traffic(self._torrent)
        return Figures(traffic.sent, traffic.got, traffic.wrong, accused=self._swarm.banned())

    def stop(self) -> None:
        self._swarm.close()


class _Liar:
    """Gives other bytes under the same torrent, to whoever asks and whomever it can dial."""

    def __init__(self, circle: Circle, member: Member, torrent: bytes) -> None:
        self._circle, self._member, self._torrent = circle, member, torrent

    def start(self) -> Endpoint:
        lt, member = engine.library(), self._member
        wrong = member.folder / "wrong"
        with self._circle.artefact.path.open("rb") as given, wrong.open("wb") as file:
            while part := given.read(1 << 20):
                file.write(bytes(reversed(part)))
        self._session = engine.open_session(member.host, 0, self._circle.rate or None)
        self._session.apply_settings({"disable_hash_checks": True})
        flags = lt.torrent_flags.seed_mode | lt.torrent_flags.upload_mode
        authority = self._circle.authority.decode()
        description = Description.decode(self._torrent)
        self._handle = self._session.add_torrent(
            engine.parameters(description, wrong, authority, flags)
        )
        self._handle.set_ssl_certificate_buffer(member.link.decode(), member.key.decode(), "")
        return member.host, self._session.ssl_listen_port()

    def fetch(self, everybody: Sequence[tuple[Member, Endpoint]], told: OnProgress) -> None:
        for member, endpoint in everybody:
            if member != self._member:
                self._handle.connect_peer(endpoint, 0, 0)

    def figures(self) -> Figures:
        return Figures(self._handle.status().total_upload)

    def stop(self) -> None:
        self._session.remove_torrent(self._handle)
        del self._session
