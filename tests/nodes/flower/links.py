"""A real parent and real children on loopback, over TLS, ended by their ``with`` block."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from nodes.flower.downlink import Downlink
from nodes.flower.environment import prepare_environment
from nodes.flower.fleet_server import FleetServer
from nodes.flower.guard import DoorLimits
from nodes.flower.internals import FleetClient
from nodes.flower.messages import pack, unpack
from nodes.flower.uplink import Uplink, empty_context
from nodes.machine.clock import Clock
from nodes.trust.tls import TlsFiles, make_tls
from nodes.trust.transport_keys import generate_transport_key, transport_public_pem

WAIT_S = 30.0


@dataclass
class Parent:
    """A running downlink and what its door refused."""

    downlink: Downlink
    fleet: FleetServer
    tls: TlsFiles
    refused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def state(self) -> Any:
        """Flower's state of the links, as its own API finds it."""
        return self.fleet._state

    @property
    def held(self) -> int:
        """Objects, messages and uploads that the parent holds."""
        state = self.state
        messages: int = state.num_message_ins() + state.num_message_res()
        objects = len(state.object_store) + len(state._object_push_sessions)
        return messages + objects + len(self.fleet.waiting)

    @property
    def ca(self) -> bytes:
        return self.tls.ca.read_bytes()

    @property
    def refused_codes(self) -> list[str]:
        return [code for code, _ in self.refused]

    @contextmanager
    def client(self, key: bytes) -> Iterator[FleetClient]:
        """A child's bare end, connected."""
        with self.stranger(key) as client:
            client.connect()
            yield client

    @contextmanager
    def stranger(self, key: bytes) -> Iterator[FleetClient]:
        with closing(FleetClient(self.downlink.address, self.ca, key)) as client:
            yield client

    def send(self, flower_id: int, blobs: dict[str, bytes], ttl: float = 600) -> str:
        grid = self.downlink.grid()
        wait_for(lambda: flower_id in grid.get_node_ids())
        message = grid.create_message(pack("task", blobs), "train", flower_id, "1", ttl)
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

    def pulled(self, client: FleetClient, blobs: dict[str, bytes] | None = None) -> Message:
        """A message that this client has pulled and not answered."""
        self.send(client.node_id, {"n": b"1"} if blobs is None else blobs)
        message = client.pull()
        assert message is not None
        return message


@contextmanager
def parent(
    folder: Path,
    port: int = 0,
    limits: DoorLimits | None = None,
    fleet: FleetServer | None = None,
    host: str = "127.0.0.1",
    clock: Clock | None = None,
) -> Iterator[Parent]:
    """A parent that listens; ``fleet``: what an earlier one remembers."""
    prepare_environment(folder / "flower")
    files = TlsFiles.in_folder(folder / "tls")
    if not files.ca.exists():
        make_tls(folder / "tls")
    refused: list[tuple[str, str]] = []
    fleet = fleet or FleetServer(limits or DoorLimits())
    downlink = Downlink(
        host=host,
        port=port,
        tls=files,
        on_refused=lambda code, detail: refused.append((code, detail)),
        limits=limits,
        fleet=fleet,
        clock=clock,
    )
    downlink.start()
    try:
        yield Parent(downlink, fleet, files, refused)
    finally:
        downlink.stop()


@contextmanager
def child(
    p: Parent, key: bytes, app: ClientApp | None = None, *, ca: bytes | None = None
) -> Iterator[Uplink]:
    """A child that answers every message with the same parts, or with ``app``."""
    uplink = Uplink(
        addresses=[p.downlink.address],
        ca_pem=ca or p.ca,
        transport_key_pem=key,
        poll_s=0.02,
    )
    stop = threading.Event()
    thread = threading.Thread(target=uplink.run, args=(app or echo_app(), empty_context(), stop))
    thread.start()
    try:
        yield uplink
    finally:
        stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def echo_app() -> ClientApp:
    app = ClientApp()

    @app.train()
    def echo(message: Message, _: Context) -> Message:
        _, blobs = unpack(message.content)
        return Message(pack("echo", blobs), reply_to=message)

    return app


def key_pair() -> tuple[bytes, bytes]:
    key = generate_transport_key()
    return key, transport_public_pem(key)


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)
