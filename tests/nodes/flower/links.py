"""A real parent and real children on loopback, over TLS, ended by their ``with`` block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from nodes.flower.environment import prepare_environment
from nodes.flower.internals import Downlink, FleetClient, Uplink, empty_context
from nodes.flower.keys import generate_transport_key, transport_public_pem
from nodes.flower.messages import pack, unpack
from nodes.flower.tls import TlsFiles, make_tls

WAIT_S = 20.0


@dataclass
class Parent:
    """A running downlink and what its door refused."""

    downlink: Downlink
    tls: TlsFiles
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def ca(self) -> bytes:
        return self.tls.ca.read_bytes()

    def client(self, key: bytes) -> FleetClient:
        return FleetClient(self.downlink.address, self.ca, key)

    def send(self, flower_id: int, blobs: dict[str, bytes]) -> str:
        grid = self.downlink.grid()
        wait_for(lambda: flower_id in grid.get_node_ids())
        message = grid.create_message(pack("task", blobs), "train", flower_id, "1", 600)
        (message_id,) = grid.push_messages([message])
        assert message_id
        return message_id

    def reply(self, message_id: str) -> Message:
        replies: list[Message] = []

        def arrived() -> bool:
            replies.extend(self.downlink.grid().pull_messages([message_id]))
            return bool(replies)

        wait_for(arrived)
        return replies[0]


@contextmanager
def parent(folder: Path, port: int = 0) -> Iterator[Parent]:
    prepare_environment(folder / "flower")
    files = TlsFiles.in_folder(folder / "tls")
    if not files.ca.exists():
        make_tls(folder / "tls")
    refused: list[tuple[str, str]] = []
    downlink = Downlink(
        host="127.0.0.1",
        port=port,
        tls=files,
        on_refused=lambda code, detail: refused.append((code, detail)),
    )
    downlink.start()
    try:
        yield Parent(downlink, files, refused)
    finally:
        downlink.stop()


@contextmanager
def child(p: Parent, key: bytes, folder: Path) -> Iterator[Uplink]:
    """A child that answers every message with the same parts."""
    app = ClientApp()

    @app.train()
    def echo(message: Message, _: Context) -> Message:
        _, blobs = unpack(message.content)
        return Message(pack("echo", blobs), reply_to=message)

    uplink = Uplink(
        address=p.downlink.address,
        ca_pem=p.ca,
        transport_key_pem=key,
        node_id_file=folder / "node-id",
        poll_s=0.05,
    )
    stop = threading.Event()
    thread = threading.Thread(target=uplink.run, args=(app, empty_context(), stop))
    thread.start()
    try:
        yield uplink
    finally:
        stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def key_pair() -> tuple[bytes, bytes]:
    key = generate_transport_key()
    return key, transport_public_pem(key)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)
