"""What a node gives of its parent's chain and of its own, and when a question about it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.errors import NodeError
from nodes.peers.circle.snapshots import SnapshotService
from nodes.releases.publish import Made, publish
from protocol import Envelope, Refused, ReleaseKind, Role, Scope
from protocol.peer_pb2 import WatchRequest
from tests.nodes.toy import Member, Tree, tree

ROOT, EN = Scope("/"), Scope("/en")


@pytest.fixture
def members(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member, Member]]:
    """A root, a scope below it that has released, and a device of that."""
    with tree(tmp_path, base) as made:
        root = made.root()
        middle = made.child(root, "en", "/en", None, Role.INTERIOR)
        root.rounds()
        root.close_round()
        made.ready(middle)
        device = made.child(middle, "device", "/en", None)
        middle.rounds()
        yield made, root, middle, device


def release(member: Member) -> None:
    moved = np.full(member.node.size, 0.5, np.float32)
    publish(member.node, moved, Made(kind=ReleaseKind.BY_HAND))


def test_a_node_gives_its_parents_chain_and_its_own(
    members: tuple[Tree, Member, Member, Member],
) -> None:
    _, root, middle, device = members
    own, parents = (
        SnapshotService(middle.node).newest(EN),
        SnapshotService(middle.node).newest(ROOT),
    )
    siblings = SnapshotService(device.node).newest(EN)
    roots = SnapshotService(root.node).newest(ROOT)
    assert own and parents and siblings and roots
    assert (own.snapshot, own.releases) == (siblings.snapshot, siblings.releases)
    assert (parents.snapshot, parents.releases) == (roots.snapshot, roots.releases)
    links = device.node.state.above.links
    assert [Envelope.decode(r).digest for r in own.releases] == [link.release for link in links]


@pytest.mark.parametrize("scope", ["/de", "/en/health"])
def test_other_scopes_are_refused(scope: str, members: tuple[Tree, Member, Member, Member]) -> None:
    _, _, middle, device = members
    for member in (middle, device):
        with pytest.raises(NodeError) as refused:
            asyncio.run(SnapshotService(member.node).watch(Scope(scope), 0))
        assert refused.value.code == "wrong-scope"
    with pytest.raises(NodeError):  # a device knows the root's release, but not its snapshot
        SnapshotService(device.node).newest(ROOT)


def test_a_scope_that_is_none_is_refused(members: tuple[Tree, Member, Member, Member]) -> None:
    service = SnapshotService(members[0].opened[0].node)
    with pytest.raises(Refused):
        asyncio.run(service.watch_snapshot(None, WatchRequest(scope="no scope", have=0)))


def test_what_is_newer_is_given_at_once_and_nothing_after_the_wait(
    members: tuple[Tree, Member, Member, Member],
) -> None:
    root = members[1]
    service = SnapshotService(root.node, wait_s=0.01)
    sequence = root.node.state.sequence

    async def ask(have: int) -> bytes:
        return (await service.watch_snapshot(None, WatchRequest(scope="/", have=have))).snapshot

    assert asyncio.run(ask(sequence - 1))
    assert not asyncio.run(ask(sequence))
    assert not asyncio.run(ask(sequence + 7))


def test_a_question_that_waits_is_answered_when_something_is_released(
    members: tuple[Tree, Member, Member, Member],
) -> None:
    root = members[1]
    service, have = SnapshotService(root.node), root.node.state.sequence

    async def ask_three() -> list[int]:
        waiting = [asyncio.create_task(service.watch(ROOT, have)) for _ in range(3)]
        while len(service._waiters) < 3:
            await asyncio.sleep(0)
        service.notify()  # nothing is newer yet: they go on waiting
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        await asyncio.to_thread(release, root)
        await asyncio.to_thread(service.notify)  # as the thread of the rounds does
        replies = await asyncio.gather(*waiting)
        return [reply.sequence for reply in replies if reply]

    assert asyncio.run(ask_three()) == [have + 1] * 3
    assert not service._waiters


def test_a_question_whose_asker_left_is_forgotten(
    members: tuple[Tree, Member, Member, Member],
) -> None:
    root = members[1]
    service = SnapshotService(root.node)

    async def leave() -> None:
        task = asyncio.create_task(service.watch(ROOT, root.node.state.sequence))
        while not service._waiters:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert not service._waiters


def test_a_damaged_chain_is_not_given(members: tuple[Tree, Member, Member, Member]) -> None:
    device = members[3]
    link = device.node.state.above.links[0]
    device.node.artefacts.delete(link.envelope)
    assert SnapshotService(device.node).newest(EN) is None
