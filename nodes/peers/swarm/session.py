"""Give and get large artefacts among the members of one circle at once, through libtorrent.

What arrives lies in the folder of the swarm until its SHA-256 is that of the artefact. Whatever is
shared may go to every member of the circle.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from nodes.machine.clock import Clock, SystemClock
from nodes.peers.swarm import arrivals, engine
from nodes.peers.swarm.blame import Blame, Endpoint, Sender
from nodes.peers.swarm.description import Description

MIN_BYTES = 8 * 1024 * 1024
MIN_RECEIVERS = 4
"""Below either, gRPC from the parent is as good."""

_LOOK_S = 0.1
_DIAL_S = 10.0
_DISK_S = 120.0


def is_worth_it(length: int, receivers: int) -> bool:
    """Return whether an artefact of ``length`` bytes should reach so many nodes by swarm."""
    return length >= MIN_BYTES and receivers >= MIN_RECEIVERS


@dataclass(frozen=True)
class Traffic:
    """Bytes of one artefact since it was added: ``sent`` and ``got`` with the protocol's own but
    without TLS, ``sent_data`` and ``got_data`` without either. ``wrong`` came and was thrown away.
    """

    sent: int
    got: int
    sent_data: int
    got_data: int
    wrong: int


@dataclass
class _Shared:
    """An artefact in the session. ``senders`` of pieces that are not complete; ``flushed``: the
    disk has what arrived."""

    description: Description
    handle: Any
    path: Path
    fetching: bool
    senders: dict[int, set[Sender]] = field(default_factory=dict)
    flushed: threading.Event = field(default_factory=threading.Event)


class Swarm:
    """This member's part in the swarm of one circle.

    Args:
        folder: where artefacts arrive; on the same file system as the places they go to.
        ca_pem: the circle's authority; of several, the one that signed ``link_pem`` counts.
        link_pem, key_pem: this member's link certificate and its key.
        host, port: the IP address and port to listen on; port 0: a free one, see ``port``.
        upload_limit: bytes a second to all peers together.

    Raises ``NodeError``: ``no-swarm`` without the extra, ``swarm-certificate``, ``swarm-port``.
    """

    def __init__(
        self,
        folder: Path,
        ca_pem: bytes,
        link_pem: bytes,
        key_pem: bytes,
        host: str,
        port: int,
        *,
        upload_limit: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._lt = engine.library()
        self._authority = engine.authority_of(ca_pem, link_pem, key_pem)
        self._certificate = link_pem.decode(), key_pem.decode()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._clock = folder.resolve(), clock or SystemClock()
        for left in self._folder.glob(f"*{arrivals.ENDING}"):
            arrivals.forget(left)
        self._session = engine.open_session(host, port, upload_limit)
        self.port: int = self._session.ssl_listen_port()
        self._shared: dict[bytes, _Shared] = {}
        self._blame = Blame()
        self._lock = threading.RLock()

    @staticmethod
    def available() -> bool:
        """Whether libtorrent is installed; ``engine.MISSING`` says what to do if it is not."""
        return engine.is_installed()

    # -- giving ------------------------------------------------------------------------------------

    def share(self, path: Path, torrent: bytes, *, origin: bool = True) -> None:
        """Give the artefact at ``path`` to whoever asks; every piece is checked before it leaves.

        Args:
            origin: hand out each piece once, as far as possible, and let the others spread it. For
                the node that has what nobody else has.

        Raises ``NodeError``: ``bad-torrent``, ``not-here`` when the file is not there or is of
        another length.
        """
        description = Description.decode(torrent)
        if not path.is_file() or path.stat().st_size != description.length:
            raise NodeError("not-here", f"{path} is not the file that its torrent describes.")
        mode = self._seeding() | (self._lt.torrent_flags.super_seeding if origin else 0)
        with self._lock:
            self._check_open()
            if description.root not in self._shared:
                self._add(description, path.resolve(), mode, fetching=False)

    def unshare(self, torrent: bytes) -> None:
        """Give an artefact no longer. Its file stays."""
        with self._lock:
            if shared := self._shared.pop(Description.decode(torrent).root, None):
                self._session.remove_torrent(shared.handle)
                if shared.path.parent == self._folder:
                    arrivals.forget(shared.path)

    def traffic(self, torrent: bytes) -> Traffic:
        """Return what went to and fro for an artefact; zeros if it is not in the swarm."""
        with self._lock:
            shared = self._shared.get(Description.decode(torrent).root)
            if shared is None:
                return Traffic(0, 0, 0, 0, 0)
            self._drain()
            status = shared.handle.status()
        return Traffic(
            status.total_upload,
            status.total_download,
            status.total_payload_upload,
            status.total_payload_download,
            status.total_failed_bytes,
        )

    # -- getting -----------------------------------------------------------------------------------

    def fetch(
        self,
        torrent: bytes,
        into: Path,
        digest: str,
        peers: Sequence[Endpoint] = (),
        on_progress: Callable[[int, int], None] = lambda _done, _total: None,
        stop: threading.Event | None = None,
        *,
        stalled_s: float = 60.0,
    ) -> None:
        """Fetch an artefact into the file ``into``, and give it to others from the first piece on.

        What an earlier call or process left is checked and used. After the return the artefact is
        still given; ``unshare`` ends that.

        Args:
            digest: SHA-256 of the artefact, hex.
            peers: ``host`` and ``port`` of members' swarms, beside those of ``add_peers``.
            on_progress: told of the bytes that are here and checked, and of all.
            stalled_s: give up after so many seconds in which nothing new came.

        Raises ``NodeError``: ``stopped``, ``bad-torrent``, ``swarm-stalled``, ``swarm-failed`` (the
        disk); what is here stays for the next time. ``wrong-artefact`` when the torrent describes
        other bytes than the digest; they are deleted.
        """
        description = Description.decode(torrent)
        arriving = self._folder / f"{digest}{arrivals.ENDING}"
        with self._lock:
            self._check_open()
            if description.root in self._shared:
                raise NodeError("swarm-busy", f"Artefact {digest[:12]}… is in the swarm already.")
            shared = self._add(description, arriving, 0, fetching=True)
        self.add_peers(peers)
        try:
            self._wait(shared, digest, on_progress, stop or threading.Event(), stalled_s)
            self._take(shared, digest, into)
        except BaseException as error:
            self.unshare(torrent)
            if isinstance(error, NodeError) and error.code == "wrong-artefact":
                arriving.unlink(missing_ok=True)
            raise

    def discard(self, digest: str) -> None:
        """Delete what arrived of an artefact that came another way."""
        (self._folder / f"{digest}{arrivals.ENDING}").unlink(missing_ok=True)

    def add_peers(self, peers: Iterable[Endpoint]) -> None:
        """Dial these members too, for everything that is being fetched now or later."""
        found = engine.resolve(peers)
        with self._lock:
            self._blame.dialled.update(found)
            for shared in self._shared.values():
                if shared.fetching:
                    self._dial(shared)

    def renew(self, link_pem: bytes, key_pem: bytes | None = None) -> None:
        """Use a new link certificate, of the same authority, for connections from now on.

        Raises ``NodeError`` ``swarm-certificate`` if another authority signed it.
        """
        key = self._certificate[1].encode() if key_pem is None else key_pem
        engine.authority_of(self._authority.encode(), link_pem, key)
        with self._lock:
            self._certificate = link_pem.decode(), key.decode()
            for shared in self._shared.values():
                shared.handle.set_ssl_certificate_buffer(*self._certificate, "")

    def banned(self) -> tuple[Endpoint, ...]:
        """Return members, as they were named to this swarm, that sent wrong bytes: each time, in
        order. Empty it with ``forget_banned``.

        Only those that this node dialled are known by their address, and only a wrong piece that
        one peer sent alone proves anything.
        """
        with self._lock:
            self._check_open()
            self._drain()
            return tuple(self._blame.named)

    def forget_banned(self) -> None:
        """Empty the list of ``banned``."""
        with self._lock:
            self._blame.named.clear()

    def close(self) -> None:
        """End the session: nothing is given or fetched any more. Files stay."""
        with self._lock:
            for shared in self._shared.values():
                self._session.remove_torrent(shared.handle)
                if shared.path.parent == self._folder:
                    arrivals.forget(shared.path)
            self._shared.clear()
            self._session = None

    def _check_open(self) -> None:
        if self._session is None:
            raise NodeError("stopped", "The swarm was closed.")

    # -- one artefact ------------------------------------------------------------------------------

    def _add(self, description: Description, path: Path, flags: int, *, fetching: bool) -> _Shared:
        wanted = engine.parameters(description, path, self._authority, flags)
        shared = _Shared(description, self._session.add_torrent(wanted), path, fetching)
        shared.handle.set_ssl_certificate_buffer(*self._certificate, "")
        self._shared[description.root] = shared
        return shared

    def _seeding(self) -> int:
        """The flags of what is here whole. In upload mode a file that turns out to be damaged is
        not overwritten by what peers send."""
        flags: int = self._lt.torrent_flags.seed_mode | self._lt.torrent_flags.upload_mode
        return flags

    def _dial(self, shared: _Shared) -> None:
        for endpoint in self._blame.dialled:
            shared.handle.connect_peer(endpoint, 0, 0)

    def _wait(
        self,
        shared: _Shared,
        digest: str,
        on_progress: Callable[[int, int], None],
        stop: threading.Event,
        stalled_s: float,
    ) -> None:
        """Wait until every piece is here."""
        most = -1
        progressed = dialled = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            with self._lock:
                self._check_open()
                status = shared.handle.status()
                self._drain()
                if now - dialled > _DIAL_S:
                    self._dial(shared)
                    dialled = now
            if status.errc.value():
                raise NodeError(
                    "swarm-failed", f"The swarm cannot use the disk: {status.errc.message()}."
                )
            if status.total_done > most or status.state == status.states.checking_files:
                most, progressed = max(most, status.total_done), now
                on_progress(most, shared.description.length)
            if status.is_seeding:
                return
            if now - progressed > stalled_s:
                raise NodeError(
                    "swarm-stalled",
                    f"Nothing came of artefact {digest[:12]}… for {stalled_s:.0f} s from "
                    f"{status.num_peers} peers; {most:,} of {shared.description.length:,} bytes "
                    "are here.",
                )
            if stop.wait(_LOOK_S):
                raise NodeError("stopped", "The node was stopped while it fetched an artefact.")

    def _take(self, shared: _Shared, digest: str, into: Path) -> None:
        """Check the whole file, and put it into its place while it is given to others."""
        shared.handle.flush_cache()
        self._await(shared.flushed, "did not write what arrived")
        arrivals.check(shared.path, digest)
        into.parent.mkdir(parents=True, exist_ok=True)
        shared.fetching = False
        if not arrivals.link_into(shared.path, into):
            with self._lock:  # peers dial again
                self._check_open()
                self._session.remove_torrent(shared.handle)
                shared.path.replace(into)
                self._add(shared.description, into.resolve(), self._seeding(), fetching=False)
        arrivals.sync_folder(into.parent)

    def _await(self, answer: threading.Event, failed: str) -> None:
        """Wait for the disk. Raises ``NodeError`` ``swarm-failed``."""
        until = self._clock.monotonic() + _DISK_S
        while not answer.wait(0.02):
            with self._lock:
                self._check_open()
                self._drain()
            if self._clock.monotonic() > until:
                raise NodeError("swarm-failed", f"The swarm {failed}.")

    # -- what the session tells --------------------------------------------------------------------

    def _drain(self) -> None:
        """Take in what libtorrent tells, and let in again who was shut out for long enough."""
        lt, now, blame = self._lt, self._clock.monotonic(), self._blame
        changed = blame.let_in(now)
        for alert in self._session.pop_alerts():
            kind = type(alert)
            if kind is lt.peer_connect_alert:
                outgoing = "outgoing connection" in alert.message()
                blame.connected(tuple(alert.endpoint), outgoing=outgoing)
            elif kind is lt.peer_disconnected_alert:
                blame.disconnected(tuple(alert.endpoint))
            elif isinstance(alert, lt.torrent_alert) and (shared := self._of(alert)):
                if kind is lt.block_finished_alert:
                    sender = blame.sender(tuple(alert.endpoint))
                    shared.senders.setdefault(alert.piece_index, set()).add(sender)
                elif kind is lt.piece_finished_alert:
                    shared.senders.pop(alert.piece_index, None)
                elif kind is lt.hash_failed_alert:
                    senders = shared.senders.pop(alert.piece_index, set())
                    changed |= blame.wrong_piece(senders, now)
                elif kind is lt.cache_flushed_alert:
                    shared.flushed.set()
        if changed:
            refused = lt.ip_filter()
            for address in blame.shut_out:
                refused.add_rule(address, address, 1)
            self._session.set_ip_filter(refused)

    def _of(self, alert: Any) -> _Shared | None:
        return next((s for s in self._shared.values() if s.handle == alert.handle), None)
