"""A root's daemon as a process of its own, so that what attacks cost it is seen from outside."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from nodes.config.files import load_config
from nodes.config.peer_ports import peer_ports
from nodes.peers.wire.client import Credentials
from nodes.state.home import open_home
from nodes.trust.tls import authority_pem
from protocol import peer_pb2
from tests.conformance.peers.asking import Actor, Target, actor, ask, ask_on, channel_to, until
from tests.nodes.daemons import events
from tests.nodes.network import add_child, make_root
from tests.ports import free_port
from tests.processes import started

MIB = 1 << 20
STARTS_S = 60
QUESTION = peer_pb2.LocateRequest(digests=[b"d" * 32])


@dataclass(frozen=True)
class Daemon:
    """The process, its listeners, and members of it by name."""

    folder: Path
    process: psutil.Process
    children: Target
    door: Target
    members: Mapping[str, Actor]

    @property
    def rss(self) -> int:
        """Bytes of memory that it has now, without the process in which it computes."""
        rss: int = self.process.memory_info().rss
        return rss

    @property
    def connections(self) -> int:
        """TCP connections of others that it has open."""
        return sum(c.status == psutil.CONN_ESTABLISHED for c in self.process.net_connections("tcp"))

    @property
    def printed(self) -> str:
        """All that it logged and printed."""
        files = (self.folder / "logs" / "node.jsonl", self.folder / "console.log")
        return "".join(file.read_text("utf-8") for file in files if file.exists())

    def refused(self) -> Counter[str]:
        """How often the ledger says that it refused something, by code."""
        counts: Counter[str] = Counter()
        for event in events(self.folder, "door-refused"):
            counts[event.body["code"]] += event.body["count"]
        return counts

    def settle(self) -> None:
        """Let a member be answered twice, with a pause for what has ended to be given back."""
        for _ in range(2):
            assert not ask(self.children, self.members["good"].shown, "Locate", QUESTION).code
            time.sleep(0.5)


@contextmanager
def a_daemon(folder: Path, base: Path) -> Iterator[Daemon]:
    """Run a root's daemon with two devices as its members until the block ends."""
    root = make_root(folder / "root", base, port=free_port())
    homes = {
        name: open_home(add_child(root, folder / name, base), None) for name in ("good", "bad")
    }
    home, config = open_home(root, None), load_config(root / "node.toml")
    ports = peer_ports(home, config)
    authority = authority_pem(root / "tls", home.key)
    children, door = (
        Target(f"127.0.0.1:{port}", home.id, authority) for port in (ports.port, ports.door)
    )
    command = [sys.executable, "-m", "nodes.cli", "node", "run", "--node", str(root)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (
        (root / "console.log").open("ab") as console,
        started(command, stdout=console, stderr=console, env=environment) as process,
    ):

        def listens() -> bool:
            assert process.poll() is None, (root / "console.log").read_text("utf-8")
            return all(_is_open(port) for port in (ports.port, ports.door))

        until(listens, STARTS_S)
        members = {name: actor(home, child) for name, child in homes.items()}
        daemon = Daemon(root, psutil.Process(process.pid), children, door, members)
        daemon.settle()
        yield daemon
        assert process.poll() is None, "the daemon ended"


@dataclass
class Served:
    """What became of the calls of a member that asks while another attacks."""

    codes: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0


@contextmanager
def being_served(daemon: Daemon, every_s: float = 0.05) -> Iterator[Served]:
    """Let member ``good`` ask for as long as the block runs."""
    served, stop = Served(), threading.Event()

    def run() -> None:
        with channel_to(daemon.children, daemon.members["good"].shown) as channel:
            while not stop.wait(every_s):
                before = time.monotonic()
                served.codes[ask_on(channel, "Locate", QUESTION, timeout_s=30).code] += 1
                served.longest_s = max(served.longest_s, time.monotonic() - before)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield served
    finally:
        stop.set()
        thread.join()


NOTHING = Credentials(b"")


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
