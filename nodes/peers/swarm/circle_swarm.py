"""One node's part in the swarm of one circle, opened when there is something large to carry.

Everything here is an addition: without the extra, without anybody to ask, or when the swarm stalls,
gRPC carries the artefact.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.peers.swarm.blame import Endpoint
from nodes.peers.swarm.session import Swarm
from nodes.peers.wire.client import Credentials
from protocol import Digest, NodeId

log = structlog.get_logger()

STALLED_S = 60.0
"""Seconds without anything new after which gRPC carries the artefact."""
IDLE_S = 3600.0
"""A swarm in which nothing new was shared or fetched for so long is closed."""

Peers = Callable[[], Mapping[Endpoint, NodeId]]
"""The other members of the circle that take part: where, and who."""
OnProgress = Callable[[int, int], None]


class CircleSwarm:
    """The swarm of one circle. Thread-safe.

    Args:
        folder: where artefacts arrive.
        host, port: where to listen; port 0: one that is free.
        credentials: what this node shows in the circle, as they are now.
        peers: whom to ask.
        on_fault: told of a member that sent wrong bytes.
    """

    def __init__(
        self,
        folder: Path,
        host: str,
        port: int,
        credentials: Callable[[], Credentials],
        peers: Peers,
        clock: Clock,
        on_fault: Callable[[NodeId, Digest], None] = lambda _node, _digest: None,
    ) -> None:
        self._folder, self._host, self._port = folder, host, port
        self._credentials, self._peers, self._clock = credentials, peers, clock
        self._on_fault = on_fault
        self._lock = threading.Lock()
        self._swarm: Swarm | None = None
        self._used = 0.0
        self._fetched: dict[Digest, bytes] = {}

    @property
    def port(self) -> int:
        """Where this node takes part now; 0 if it does not."""
        swarm = self._swarm
        return swarm.port if swarm else 0

    def share(self, path: Path, torrent: bytes) -> None:
        """Give an artefact that nobody else has. Raises ``NodeError`` where that cannot be."""
        self._open().share(path, torrent, origin=True)

    def fetch(
        self,
        torrent: bytes,
        into: Path,
        digest: Digest,
        on_progress: OnProgress,
        stop: threading.Event,
    ) -> None:
        """Fetch an artefact into a file, and give it on.

        Raises ``NodeError``: ``stopped``, ``no-peers``, and what says that gRPC has to carry it.
        """
        members = self._peers()
        if not members:
            raise NodeError("no-peers", "Nobody in the circle takes part in a swarm.")
        swarm = self._open()
        try:
            swarm.fetch(
                torrent, into, digest, list(members), on_progress, stop, stalled_s=STALLED_S
            )
        except NodeError as error:
            if error.code != "stopped":
                swarm.discard(digest)
            raise
        else:
            with self._lock:
                self._fetched[digest] = torrent
        finally:
            for endpoint in swarm.banned():
                if endpoint in members:
                    self._on_fault(members[endpoint], digest)
            swarm.forget_banned()

    def moved(self, digest: Digest, path: Path) -> None:
        """Go on giving an artefact that was fetched, from where it lies now."""
        with self._lock:
            swarm, torrent = self._swarm, self._fetched.get(digest)
        if swarm is None or torrent is None:
            return
        try:
            swarm.unshare(torrent)
            swarm.share(path, torrent, origin=False)
        except NodeError as error:
            log.info("not-given-on", digest=digest, code=error.code)

    def renew(self) -> None:
        """Use this node's new certificate from now on."""
        with self._lock:
            if self._swarm is None:
                return
            shown = self._credentials()
            try:
                self._swarm.renew(shown.certificate or b"", shown.key)
            except NodeError:  # another authority: the next use opens a swarm under that one
                self._close()

    def tend(self) -> None:
        """Let libtorrent hand over what it has to say; called now and then."""
        with contextlib.suppress(NodeError):
            if swarm := self._swarm:
                swarm.banned()

    def rest(self) -> None:
        """Close what nobody used for a while; called now and then."""
        with self._lock:
            if self._swarm and self._clock.monotonic() - self._used > IDLE_S:
                self._close()

    def close(self) -> None:
        """Take no part any more."""
        with self._lock:
            self._close()

    def _open(self) -> Swarm:
        with self._lock:
            self._used = self._clock.monotonic()
            if self._swarm is None:
                shown = self._credentials()
                self._swarm = Swarm(
                    self._folder,
                    shown.authority,
                    shown.certificate or b"",
                    shown.key or b"",
                    self._host,
                    self._port,
                    clock=self._clock,
                )
                log.info("swarm-opened", port=self._swarm.port)
            return self._swarm

    def _close(self) -> None:
        if self._swarm is not None:
            self._swarm.close()
            self._swarm = None
            self._fetched.clear()
