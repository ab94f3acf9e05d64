"""Who attacks whom: parents with their real services, and actors with real keys."""

from __future__ import annotations

import datetime
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil

from nodes.config.files import load_config
from nodes.config.peer_ports import peer_ports
from nodes.peers.wire.client import Credentials
from nodes.state.home import Home, open_home
from nodes.trust.link_certificates import issue_link, peer_name
from nodes.trust.tls import authority_pem
from protocol import NodeId
from tests.processes import started

WAIT_S = 60


@dataclass(frozen=True)
class Target:
    """A listener: where it is, what it offers, whose name it shows."""

    address: str
    node: NodeId
    authority: bytes


@dataclass(frozen=True)
class Actor:
    """A node's folder, and what it shows at a handshake."""

    home: Home
    shown: Credentials

    @property
    def id(self) -> NodeId:
        return self.home.id


def actor(parent: Home, home: Home, made: datetime.datetime | None = None) -> Actor:
    """Give a child its link certificate, made at a moment, by default now."""
    made = made or datetime.datetime.now(datetime.UTC)
    link = issue_link(parent.folder / "tls", parent.key, home.certificate, made)
    authority = authority_pem(parent.folder / "tls", parent.key)
    return Actor(home, Credentials(authority, link, home.transport_pem))


@contextmanager
def channel_to(target: Target, shown: Credentials) -> Iterator[grpc.Channel]:
    """Open a channel that shows something, and knows whom it expects."""
    secure = grpc.ssl_channel_credentials(target.authority, shown.key, shown.certificate)
    options = [
        ("grpc.ssl_target_name_override", peer_name(target.node)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ]
    channel = grpc.secure_channel(target.address, secure, options)
    try:
        yield channel
    finally:
        channel.close()


@dataclass(frozen=True)
class Daemon:
    """A root's daemon, in a process of its own."""

    folder: Path
    pid: int
    peers: Target
    door: Target

    @property
    def rss(self) -> int:
        """Bytes of memory that it has now, without the process that it computes in."""
        rss: int = psutil.Process(self.pid).memory_info().rss
        return rss

    @property
    def log(self) -> str:
        """All that it logged and printed."""
        files = (self.folder / "logs" / "node.jsonl", self.folder / "console.log")
        return "".join(f.read_text("utf-8") for f in files if f.exists())


@contextmanager
def running_daemon(folder: Path) -> Iterator[Daemon]:
    """Run the daemon of a root until the block ends."""
    home, config = open_home(folder, None), load_config(folder / "node.toml")
    ports = peer_ports(home, config)
    authority = authority_pem(folder / "tls", home.key)
    targets = [Target(f"127.0.0.1:{p}", home.id, authority) for p in (ports.port, ports.door)]
    command = [sys.executable, "-m", "nodes.cli", "node", "run", "--node", str(folder)]
    with (
        (folder / "console.log").open("ab") as console,
        started(
            command, stdout=console, stderr=console, env=os.environ | {"OMP_NUM_THREADS": "1"}
        ) as process,
    ):
        until = time.monotonic() + WAIT_S
        for port in (ports.port, ports.door):
            while not _answers(port):
                assert process.poll() is None, (folder / "console.log").read_text("utf-8")
                assert time.monotonic() < until, "the daemon does not listen"
                time.sleep(0.05)
        yield Daemon(folder, process.pid, *targets)
        assert process.poll() is None, "the daemon ended"


def _answers(port: int) -> bool:
    import socket

    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
