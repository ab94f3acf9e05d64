"""The apps that ``[tool.flwr.app]`` registers: one federation of a tree under stock ``flwr run``.

A SuperNode finds its node by ``--node-config 'config="/path/to/node.toml"'``, the run finds the
parent by ``--run-config 'config="/path/to/node.toml"'``. The parent learns which Flower node is
which child by asking each for its certificate; the claim is not believed beyond addressing, since
every answer is signed. Everything else is what the daemon does, by the same functions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import structlog
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from nodes.child.child import Child
from nodes.config.files import load_config
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.flower.apps import answer, serve
from nodes.flower.messages import pack, unpack
from nodes.learning.engine import TorchEngine
from nodes.machine.clock import SystemClock
from nodes.parent.parent import Parent
from nodes.releases.publish import start_root
from nodes.state.home import open_home
from nodes.state.node import Node
from protocol import Certificate, Envelope, NodeId, ProtocolError, PublicKey, open_envelope

log = structlog.get_logger()

client_app = ClientApp()
server_app = ServerApp()

HELLO_S = 60.0
"""Seconds until a Flower node that did not name its member is asked again."""


@cache
def _opened(config_file: str) -> tuple[Node, NodeConfig, TorchEngine]:
    config, clock = load_config(Path(config_file)), SystemClock()
    home = open_home(config.state, clock.now_ms())
    return Node(home, clock), config, TorchEngine(home, config.model, threading.Event())


def _open(values: Mapping[str, object]) -> tuple[Node, NodeConfig, TorchEngine]:
    path = values.get("config")
    if not isinstance(path, str) or not path:
        raise NodeError("no-config", 'Say which node this is: config="/path/to/node.toml".')
    return _opened(path)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """Answer a task."""
    return answer(Child(*_open(context.node_config)), message)


@client_app.query("hello")
def hello(message: Message, context: Context) -> Message:
    """Name the member that this Flower node is."""
    node, _, _ = _open(context.node_config)
    certificate = node.home.path_envelopes[-1]
    return Message(pack("hello", {"certificate": certificate}), reply_to=message)


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the parent's rounds until it has made ``[rounds] max_releases`` releases."""
    node, config, engine = _open(context.run_config)
    start_root(node)
    directory = _Directory(grid, node)
    serve(
        grid,
        Parent(node, config, engine),
        directory.flower_ids,
        poll_s=config.rounds.poll_s,
        stop=threading.Event(),
    )


class _Directory:
    """The Flower node of each enrolled child, learned by asking."""

    def __init__(self, grid: Grid, node: Node) -> None:
        self._grid, self._node = grid, node
        self._known: dict[NodeId, int] = {}
        self._asked: dict[int, float] = {}
        self._waiting: set[str] = set()

    def flower_ids(self) -> Mapping[NodeId, int]:
        """Return the ids known now; from time to time ask the Flower nodes that are not known
        yet."""
        now = time.monotonic()
        for flower_id in set(self._grid.get_node_ids()) - set(self._known.values()):
            if now - self._asked.get(flower_id, -HELLO_S) >= HELLO_S:
                self._asked[flower_id] = now
                question = self._grid.create_message(
                    pack("hello", {}), "query.hello", flower_id, "hello"
                )
                self._waiting.update(filter(None, self._grid.push_messages([question])))
        for reply in self._grid.pull_messages(list(self._waiting)) if self._waiting else ():
            self._waiting.discard(reply.metadata.reply_to_message_id)
            self._take(reply)
        return self._known

    def _take(self, reply: Message) -> None:
        if reply.has_error():
            log.warning("no-hello", why=reply.error.reason)
            return
        try:
            _, blobs = unpack(reply.content)
            sealed = Envelope.decode(blobs.get("certificate", b""))
            key: PublicKey = self._node.home.key.public
            member = open_envelope(sealed, Certificate, key)
        except ProtocolError as error:
            log.warning("no-hello", code=error.code, why=error.sentence)
            return
        self._known[member.node] = reply.metadata.src_node_id
