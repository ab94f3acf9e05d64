"""What a process has in its hands it does not read back: a delta just trained, a payload just
admitted. After a restart it does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nodes.state.artefacts import ArtefactStore
from nodes.state.event_codec import events_of
from nodes.state.events import Trained, UpdateAccepted
from nodes.state.node import Node
from protocol import Digest
from tests.nodes.toy import Member, Tree, tree


class CountingStore(ArtefactStore):
    """A store that remembers what was read from it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read: list[Digest] = []

    def get(self, digest: Digest) -> bytes:
        """Read, and remember it."""
        self.read.append(digest)
        return super().get(digest)


def counted(node: Node) -> CountingStore:
    """Let a node read through a store that counts."""
    node.artefacts = store = CountingStore(node.home.folder / "artefacts")
    return store


@pytest.fixture
def network(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    with tree(tmp_path, base) as made:
        root = made.root()
        root.toy.target = root.node.effective() + 1
        device = made.child(root, "device", "/", root.toy.target)
        yield made, root, device


def payload_of(root: Member) -> Digest:
    (accepted,) = events_of(root.node.ledger, UpdateAccepted)
    assert isinstance(accepted, UpdateAccepted)
    return accepted.seat.payload


def test_a_delta_just_trained_is_not_read_back(network: tuple[Tree, Member, Member]) -> None:
    _, root, device = network
    store = counted(device.node)
    root.rounds()
    (trained,) = events_of(device.node.ledger, Trained)
    assert isinstance(trained, Trained)
    assert store.has(trained.delta)
    assert trained.delta not in store.read


def test_a_payload_is_decoded_once_in_the_life_of_a_process(
    network: tuple[Tree, Member, Member],
) -> None:
    _, root, _ = network
    store = counted(root.node)
    root.rounds()
    assert root.node.state.own.by_rounds
    assert store.has(payload_of(root))
    assert payload_of(root) not in store.read


def test_a_payload_that_was_admitted_before_a_crash_is_read_from_disk(
    network: tuple[Tree, Member, Member],
) -> None:
    made, root, device = network
    made.child(root, "silent", "/", root.toy.target)
    root.members = {"device": device}
    root.rounds()  # one of two has answered: the round waits
    assert not root.node.state.own.by_rounds
    made.restart(root)
    store = counted(root.node)
    root.close_round()
    assert root.node.state.own.by_rounds
    assert payload_of(root) in store.read
