"""What a node frees when it starts: artefacts that its ledger does not name, and no others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from nodes.state.artefacts import ArtefactStore
from nodes.state.node import Node
from tests.nodes.toy import tree


def test_what_no_event_names_is_freed_when_it_is_old(tmp_path: Path, base: Path) -> None:
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.ones(root.node.size, np.float32)
        device = made.child(root, "one", "/", target)
        root.toy.target = target
        root.rounds()
        root.rounds()
        for node in (root.node, device.node):
            _check(node)


def _check(node: Node) -> None:
    store = ArtefactStore(node.home.folder / "artefacts")
    before, effective = set(store.digests()), node.effective()
    lost, fresh = store.put(b"of a lost update"), store.put(b"about to be named")
    for digest in before | {lost}:
        path = node.home.folder / "artefacts" / digest[:2] / digest
        os.utime(path, (0, 0))
    assert node.free_unnamed() == len(b"of a lost update")
    assert set(store.digests()) == before | {fresh}
    again = Node(node.home, node.clock)
    np.testing.assert_array_equal(again.effective(), effective)
    again.close()
