"""What many children are sent at once is held once by their parent."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from nodes.flower.apps import serve
from nodes.flower.messages import pack, unpack
from nodes.parent.tasks import Request
from protocol import NodeId
from tests.nodes.flower.links import Parent, child, key_pair, parent, wait_for

CHILDREN = 5
CHAIN = {"release/r": b"r" * 300, "adapter/a": bytes(range(256)) * 4000}
SIZE = sum(map(len, CHAIN.values()))


class Asker:
    """Asks every child once, as a parent that opened a round does; collects the answers."""

    finished = False

    def __init__(self, children: list[NodeId]) -> None:
        self.requests = [
            Request(child, f"1-{child}", 1, {"task": child.encode()} | CHAIN, 2**60)
            for child in children
        ]
        self.answers: dict[NodeId, Mapping[str, bytes]] = {}

    def has(self, answers: int) -> bool:
        return len(self.answers) == answers

    def step(self) -> list[Request]:
        asked, self.requests = self.requests, []
        return asked

    def receive(
        self, child: NodeId, task: str, kind: str, blobs: dict[str, bytes]
    ) -> list[Request]:
        assert task == f"1-{child}"
        self.answers[child] = MappingProxyType(blobs)
        self.finished = len(self.answers) == CHILDREN
        return []


def has_answers(asker: Asker, count: int) -> bool:
    return len(asker.answers) == count


def stored(p: Parent) -> int:
    """Bytes of all objects that wait for somebody."""
    return sum(len(entry.content) for entry in p.state.object_store.store.values())


def echo() -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, _: Context) -> Message:
        return Message(pack("echo", unpack(message.content)[1]), reply_to=message)

    return app


def test_the_chain_is_stored_once_for_all_children_and_freed_with_the_last(tmp_path: Path) -> None:
    keys = [key_pair() for _ in range(CHILDREN)]
    with parent(tmp_path) as p:
        ids = {NodeId(f"child{i}"): p.downlink.admit_child(keys[i][1]) for i in range(CHILDREN)}
        for key, _ in keys:  # connected, and away before they ask for messages
            with p.client(key):
                pass
        asker = Asker(list(ids))
        stop = threading.Event()
        args = (p.downlink.grid(), asker, lambda: ids)
        serving = threading.Thread(target=serve, args=args, kwargs={"poll_s": 0.05, "stop": stop})
        serving.start()
        try:
            wait_for(lambda: not asker.requests and len(p.fleet.waiting) == CHILDREN)
            assert SIZE < stored(p) < 1.5 * SIZE
            for key, _ in keys:
                with child(p, key, echo()):
                    answered = len(asker.answers) + 1
                    wait_for(partial(asker.has, answered))
            wait_for(lambda: p.held == 0)
        finally:
            stop.set()
            serving.join()
        for name, blobs in asker.answers.items():
            assert blobs == {"task": name.encode()} | CHAIN
