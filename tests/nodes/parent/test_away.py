"""A child that was away for many versions is brought up to date, a bounded part at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nodes.child.child import Child
from nodes.flower.messages import MAX_BLOBS, pack
from nodes.parent.tasks import MAX_ENCLOSED, Request
from nodes.releases.publish import Made, publish
from protocol import ReleaseKind
from tests.nodes.toy import Member, tree

VERSIONS = 3 * MAX_ENCLOSED + 7


def _releases(member: Member, count: int) -> None:
    for _ in range(count):
        moved = np.full(member.node.size, 1e-3, np.float32)
        publish(member.node, moved, Made(kind=ReleaseKind.BY_HAND))


@pytest.mark.slow
def test_a_child_that_was_away_catches_up_within_one_round(tmp_path: Path, base: Path) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        device = made.child(
            root, "device", "/", np.ones(root.node.size, np.float32), mode="personal"
        )
        root.rounds()  # the device sends an update, and waits for its verdict
        root.close_round()
        assert device.node.state.offers.sent or device.node.state.offers.counted
        _releases(root, VERSIONS)
        child = Child(device.node, device.config, device.toy)
        assert root.parent is not None
        root.advance(2000)
        waiting: list[Request] = root.parent.step()
        tasks = 0
        while waiting:
            request = waiting.pop(0)
            tasks += 1
            assert len(request.blobs) <= MAX_BLOBS
            pack("task", request.blobs)  # refuses what a message cannot hold
            kind, blobs = child.answer(request.blobs)
            waiting += root.parent.receive(device.node.home.id, request.task, kind, blobs)
        assert tasks > VERSIONS // MAX_ENCLOSED
        latest = root.node.state.own.latest
        assert latest is not None
        assert device.node.state.above.links[-1].release == latest.release
        assert device.node.state.offers.seen_release == latest.release
