"""How much of what it learned a personal device keeps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.nodes.toy import Member, Tree, distance, tree


@pytest.fixture
def parent_and_device(tmp_path: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    """A root and a personal device that is on its own target's way."""
    with tree(tmp_path, base) as made:
        root = made.root()
        target = np.random.default_rng(0).standard_normal(root.node.size).astype(np.float32)
        root.toy.target = target
        yield made, root, made.child(root, "own", "/", target, mode="personal", probed=True)


def step(device: Member) -> float:
    (event,) = list(device.node.ledger.events(["trained"]))[-1:]
    return float(event.body["measured"]["step"])


@pytest.mark.parametrize(("rate", "kept"), [(1.0, 1.0), (4 / 3, 0.75), (2.0, 0.5), (4.0, 0.25)])
def test_it_goes_as_far_as_is_best_on_its_own_probes(
    parent_and_device: tuple[Tree, Member, Member], rate: float, kept: float
) -> None:
    _, root, device = parent_and_device
    device.toy.rate = rate  # training goes so many times as far as it should
    root.rounds()
    assert step(device) == kept
    assert distance(device, device.toy.target) < 1e-2 * float(np.linalg.norm(device.toy.target))


def test_it_keeps_nothing_that_only_harms(
    parent_and_device: tuple[Tree, Member, Member],
) -> None:
    _, root, device = parent_and_device
    device.toy.rate = -1.0
    before = device.node.effective()
    root.rounds()
    assert step(device) == 0.0
    np.testing.assert_array_equal(device.node.effective(), before)


def test_it_is_judged_against_the_best_it_ever_held(
    parent_and_device: tuple[Tree, Member, Member],
) -> None:
    """Many small harms would otherwise add up."""
    made, root, device = parent_and_device
    device.toy.rate = 1.0
    root.rounds()
    best = device.toy.loss(device.node.effective())
    device.toy.rate = -1.0
    for _ in range(3):
        device.node.clock.advance(10_000)  # type: ignore[attr-defined]
        root.rounds()
        made.restart(device)
    assert device.toy.loss(device.node.effective()) <= best + 0.08 + 1e-3 * best
