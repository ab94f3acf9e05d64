"""How a new node reaches its parent before it runs: over gRPC, with one source for all it needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import structlog

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.peers.artefacts.base import fetch_base, is_whole
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.artefacts.remote import RemoteSource
from nodes.peers.artefacts.source import Fault
from nodes.peers.artefacts.standing import FILE, Standing
from nodes.peers.artefacts.traffic import FILE as TRAFFIC_FILE
from nodes.peers.artefacts.traffic import ByteCounts
from nodes.peers.circle.book import CircleBook
from nodes.peers.joining.found_parent import find_parent
from nodes.peers.joining.join import Means, OnProgress, Way
from nodes.peers.wire.client import Credentials, PeerChannel
from nodes.state.home import Home
from nodes.trust.tls import peer_name
from protocol import Digest, NodeId, peer_pb2

log = structlog.get_logger()

MOST_BASIS_BYTES = 1 << 32
_TRIES, _BETWEEN_S = 30, 2.0
"""A parent that has just started reads its base before it can say what belongs to it."""


def means(clock: Clock, *, pause: Callable[[float], None] = time.sleep) -> Means:
    """Return how the parent is reached by a node that is not a member yet."""
    return Means(
        open_desk=find_parent,
        fetch=partial(_fetch, clock),
        fetch_base=partial(_fetch_base, clock, pause),
    )


def _fetch(clock: Clock, way: Way, digest: Digest, into: Path, on_progress: OnProgress) -> None:
    with (
        _connected(way) as channel,
        _fetcher(channel, way.parent, into.parent, clock) as fetcher,
    ):
        fetcher.fetch(digest, into, most=MOST_BASIS_BYTES, on_progress=on_progress)


def _fetch_base(
    clock: Clock,
    pause: Callable[[float], None],
    way: Way,
    home: Home,
    into: Path,
    on_progress: OnProgress,
) -> None:
    if into.exists() and is_whole(into, home.network):
        return
    with _connected(way) as channel:
        book = CircleBook(home, clock.now_ms)
        manifest = _manifest(channel, book, pause)
        stop = threading.Event()
        with _fetcher(channel, way.parent, home.folder, clock) as fetcher:
            fetch_base(fetcher, manifest, into, home.network, stop=stop, on_progress=on_progress)


def _manifest(channel: PeerChannel, book: CircleBook, pause: Callable[[float], None]) -> Digest:
    """Return the digest of the list of the base's files, from the parent's signed circle."""
    for _ in range(_TRIES):
        reply = channel.ask("Report", peer_pb2.ReportRequest(circle=book.sequence))
        if reply.circle:
            book.take(reply.circle)
        if book.manifest:
            return book.manifest
        pause(_BETWEEN_S)
    raise NodeError(
        "no-source",
        "The parent does not have the base at present. `banyan node run` fetches it as soon as "
        "the parent has it.",
    )


@contextmanager
def _connected(way: Way) -> Iterator[PeerChannel]:
    believed: Credentials = way.credentials
    channel = PeerChannel(lambda: way.peers, lambda: believed, peer_name(way.parent))
    try:
        yield channel
    finally:
        channel.close()


@contextmanager
def _fetcher(channel: PeerChannel, parent: NodeId, folder: Path, clock: Clock) -> Iterator[Fetcher]:
    """Fetch from the parent for the node in a folder, and count there how many bytes came.

    Siblings are not asked: they do not know yet that this node is one of them.
    """
    source = RemoteSource(parent, channel, is_origin=True)
    counts = ByteCounts(folder / TRAFFIC_FILE, clock)
    standing = Standing(folder / FILE, clock)
    try:
        yield Fetcher(
            lambda: [source], folder / "arriving", standing, clock, _tell, on_bytes=counts.took
        )
    finally:
        counts.flush()


def _tell(fault: Fault) -> None:
    log.warning("wrong-artefact", code=fault.code, why=fault.sentence)
