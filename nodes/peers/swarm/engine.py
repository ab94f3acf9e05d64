"""libtorrent as a circle uses it: a closed session, TLS only, peers from the circle's signed list.

Nothing is announced to anybody: no trackers, no DHT, no multicast, no mapped ports. Only this
module and ``session`` know libtorrent, and it is imported when a session is made.
"""

from __future__ import annotations

import importlib
import importlib.util
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from nodes.errors import NodeError
from nodes.peers.swarm.blame import Endpoint
from nodes.peers.swarm.description import Description
from nodes.trust.tls import signed_by

MISSING = (
    "libtorrent is not installed, so large artefacts come over gRPC alone; "
    "to share them among many, install banyan-fl[swarm]."
)
MOST_PEERS = 48
"""Connections of one artefact: each piece is told to every one of them."""

_SETTINGS: dict[str, object] = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "enable_ip_notifier": False,
    "allow_idna": False,
    # Several members may stand behind one address.
    "allow_multiple_connections_per_ip": True,
    # A member whose certificate comes a moment later is tried again soon.
    "min_reconnect_time": 1,
    # Closing what seems redundant also drops an origin that has just told its last piece.
    "close_redundant_connections": False,
    "listen_system_port_fallback": False,
    "max_retry_port_bind": 0,
    "listen_queue_size": 128,
    "connection_speed": 200,
    "torrent_connect_boost": 64,
    "unchoke_interval": 2,
    "optimistic_unchoke_interval": 6,
    # Files are read and written, not mapped: a file that was cut short is an error, not a signal.
    "mmap_file_size_cutoff": 1 << 30,
    "stop_tracker_timeout": 0,
    "alert_queue_size": 50_000,
    # What waits for the disk waits in memory: the default is 100 MB.
    "max_queued_disk_bytes": 4 << 20,
    "user_agent": "",
}


def is_installed() -> bool:
    """Return whether libtorrent can be imported."""
    return importlib.util.find_spec("libtorrent") is not None


def library() -> Any:
    """Return the module libtorrent. Raises ``NodeError`` ``no-swarm``."""
    try:
        return importlib.import_module("libtorrent")
    except ImportError:
        raise NodeError("no-swarm", MISSING) from None


def open_session(host: str, port: int, upload_limit: int | None) -> Any:
    """Return a session that listens on ``host`` and ``port`` for TLS connections only.

    Args:
        upload_limit: bytes a second for all peers together, also those nearby; None: no limit.

    Raises ``NodeError`` ``swarm-port`` when it cannot listen there.
    """
    lt = library()
    place = f"[{host}]" if ":" in host else host
    categories = lt.alert_category
    settings = dict(_SETTINGS)
    settings["listen_interfaces"] = f"{place}:{port}s"
    settings["upload_rate_limit"] = upload_limit or 0
    settings["alert_mask"] = (
        categories.error
        | categories.status
        | categories.peer
        | categories.connect
        | categories.storage
        | categories.block_progress
        | categories.piece_progress
    )
    if host not in ("0.0.0.0", "::"):  # noqa: S104
        settings["outgoing_interfaces"] = host
    session = lt.session(settings, 0)
    session.add_extension("smart_ban")
    # By default limits and slots do not hold for private addresses and loopback.
    everybody = lt.ip_filter()
    everybody.add_rule("0.0.0.0", "255.255.255.255", 1 << session.global_peer_class_id)  # noqa: S104
    everybody.add_rule("::", "f" * 4 + ":ffff" * 7, 1 << session.global_peer_class_id)
    session.set_peer_class_filter(everybody)
    if not session.ssl_listen_port():
        raise NodeError(
            "swarm-port",
            f"The swarm cannot listen on {place}:{port}. Set a port that is free, and an address "
            "of this machine.",
        )
    return session


def parameters(description: Description, path: Path, authority: str, flags: int) -> Any:
    """Return how the artefact at ``path`` is added to a session: its parameters of libtorrent."""
    lt = library()
    wanted = lt.load_torrent_buffer(description.encode())
    wanted.save_path = str(path.parent)
    wanted.renamed_files = {0: path.name}
    wanted.root_certificate = authority
    closed = lt.torrent_flags
    wanted.flags = (
        closed.disable_dht
        | closed.disable_lsd
        | closed.disable_pex
        | closed.apply_ip_filter
        | flags
    )
    wanted.max_connections = MOST_PEERS
    return wanted


def authority_of(ca_pem: bytes, link_pem: bytes, key_pem: bytes) -> str:
    """Return the one authority, PEM, that signed the link certificate: a swarm trusts no other.

    Raises ``NodeError`` ``swarm-certificate`` when none did, or the key is another's.
    """
    try:
        link = x509.load_pem_x509_certificate(link_pem)
        key = load_pem_private_key(key_pem, None)
        for authority in x509.load_pem_x509_certificates(ca_pem):
            if link.public_key() == key.public_key() and signed_by(link, authority):
                return authority.public_bytes(Encoding.PEM).decode()
    except (ValueError, TypeError):
        pass
    raise NodeError(
        "swarm-certificate", "The link's certificate, its key and its authority do not match."
    )


def resolve(peers: Iterable[Endpoint]) -> dict[Endpoint, Endpoint]:
    """Return the IP endpoints of peers, each with the peer as it was named; leave out who has
    no address now."""
    found: dict[Endpoint, Endpoint] = {}
    for host, port in peers:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            continue
        for *_, address in answers:
            found[str(address[0]), port] = host, port
    return found
