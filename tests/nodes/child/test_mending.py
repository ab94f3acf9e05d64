"""A device whose copy of the chain is damaged or lost gets it again from its parent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nodes.child.child import Child
from nodes.parent.parent import Parent
from nodes.parent.tasks import Request
from nodes.releases.publish import Made, publish
from nodes.state.event_codec import events_of
from nodes.state.events import PositionMended, UpdateAccepted
from nodes.state.records import ZERO
from nodes.text.files import write_texts
from protocol import ReleaseKind
from tests.nodes.toy import distance, tree


@pytest.mark.slow
@pytest.mark.parametrize("moved_on", [False, True])
@pytest.mark.parametrize("damage", ["flipped", "lost"])
def test_one_damaged_artefact_of_the_chain_is_fetched_again(
    tmp_path: Path, base: Path, damage: str, moved_on: bool
) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        moved = np.full(root.node.size, 1e-2, np.float32)
        publish(root.node, moved, Made(kind=ReleaseKind.BY_HAND))
        device = made.child(root, "device", "/", np.ones(root.node.size, np.float32))
        root.rounds()
        (link,) = device.node.state.above.links
        file = device.node.home.folder / "artefacts" / link.adapter[:2] / link.adapter
        if damage == "lost":
            file.unlink()
        else:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)
        write_texts(device.node.home.folder / "train.jsonl", ["A text that is new."])
        if moved_on:  # the change to the new chain is computed from the damaged one
            publish(root.node, moved, Made(kind=ReleaseKind.BY_HAND))
        child = Child(device.node, device.config, device.toy)
        assert root.parent is not None
        root.close_round()
        waiting: list[Request] = []
        for _ in range(3):
            root.advance(2000)
            waiting = waiting or root.parent.step()
        while waiting:
            request = waiting.pop(0)
            kind, blobs = child.answer(request.blobs)
            waiting += root.parent.receive(device.node.home.id, request.task, kind, blobs)
        assert len(list(events_of(root.node.ledger, UpdateAccepted))) == 2
        np.testing.assert_array_equal(device.node.effective(), root.node.effective())


@pytest.mark.slow
def test_a_parent_gets_its_own_release_back_from_a_child(tmp_path: Path, base: Path) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        publish(
            root.node, np.full(root.node.size, 1e-2, np.float32), Made(kind=ReleaseKind.BY_HAND)
        )
        device = made.child(root, "device", "/", np.ones(root.node.size, np.float32))
        liar = made.child(root, "liar", "/", None)
        root.rounds()
        latest = root.node.state.own.latest
        assert latest is not None
        for digest in (latest.adapter, latest.envelope):
            file = root.node.home.folder / "artefacts" / digest[:2] / digest
            file.write_bytes(file.read_bytes()[:-1] + b"!")
        made.restart(root)
        assert root.parent is not None
        asked = root.parent.step()
        assert {request.kind for request in asked} == {"lend"}
        assert root.parent.step() == []  # it waits, and opens no round meanwhile
        rubbish = {"x": b"not what was asked for"}
        assert root.parent.receive(liar.node.home.id, "lend-1", "artefacts", rubbish) == []
        assert not root.node.artefacts.intact(latest.adapter)
        child = Child(device.node, device.config, device.toy)
        kind, lent = child.lend(asked[0].blobs)
        root.parent.receive(device.node.home.id, "lend-1", kind, lent)
        for digest in (latest.adapter, latest.envelope):
            assert root.node.artefacts.intact(digest)
        root.close_round()
        root.advance(2000)
        assert {request.kind for request in root.parent.step()} == {"task"}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["adapter", "baseline"])
def test_a_personal_device_goes_on_without_what_nobody_else_has(
    tmp_path: Path, base: Path, what: str
) -> None:
    with tree(tmp_path, base) as made:
        target = np.ones(made.root().node.size, np.float32)
        root = made.reopen(made.opened[0])
        root.toy.target = target
        root.parent = Parent(root.node, root.config, root.toy)
        device = made.child(root, "device", "/", target, mode="personal")
        for _ in range(3):
            root.rounds()
        state = device.node.state
        assert ZERO not in (state.own.adapter, state.offers.baseline)
        lost = state.own.adapter if what == "adapter" else state.offers.baseline
        (device.node.home.folder / "artefacts" / lost[:2] / lost).unlink()
        counted = len(state.offers.counted)
        write_texts(device.node.home.folder / "train.jsonl", ["A text that is new."])
        before = distance(root, target)
        for _ in range(4):
            root.rounds()
            root.close_round()
        (mended,) = events_of(device.node.ledger, PositionMended)
        assert isinstance(mended, PositionMended)
        assert mended.adapter == mended.baseline
        assert (mended.adapter == ZERO) == (what == "adapter")
        assert len(device.node.state.offers.counted) > counted
        assert distance(root, target) < before
