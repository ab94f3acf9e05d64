"""Whole rounds with real nodes, ledgers, signatures and training; only the wire is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nodes.machine.clock import Clock, ManualClock, SystemClock
from nodes.parent.parent import Parent
from nodes.parent.tasks import Request
from nodes.releases.publish import Made, publish, start_root
from protocol import (
    Envelope,
    NodeId,
    ReleaseKind,
    Role,
    Update,
    digest_of,
    encode_delta,
    open_envelope,
    seal,
)
from protocol.tensors import write_tensors
from tests.nodes.network import (
    ROUNDS,
    Peer,
    add_child,
    answer,
    by_child,
    enrol_again,
    make_root,
    peer,
)

pytestmark = pytest.mark.slow

Blobs = dict[str, bytes]


@pytest.fixture
def network(tmp_path: Path, base: Path) -> Iterator[tuple[Peer, Peer, Peer]]:
    """A root and two devices."""
    root = make_root(tmp_path / "root", base)
    devices = [add_child(root, tmp_path / name, base) for name in ("one", "two")]
    clock = ManualClock(SystemClock().now_ms())
    peers = [peer(folder, clock) for folder in (root, *devices)]
    start_root(peers[0].node)
    yield peers[0], peers[1], peers[2]
    for p in peers:
        p.close()


def test_a_round_of_two_devices_becomes_a_release(network: tuple[Peer, Peer, Peer]) -> None:
    root, one, two = network
    parent = root.parent()
    asked = by_child(parent.step())
    answer(parent, one, asked[one.id])
    answer(parent, two, asked[two.id])
    release = root.kinds("released")[-1]
    assert (release["kind"], set(release["accepted"])) == ("round", {one.id, two.id})
    assert root.node.ledger.verify() > 0


def test_a_parent_with_one_child_works(tmp_path: Path, base: Path) -> None:
    root_folder = make_root(tmp_path / "root", base)
    root, one = peer(root_folder), peer(add_child(root_folder, tmp_path / "one", base))
    start_root(root.node)
    parent = root.parent()
    answer(parent, one, by_child(parent.step())[one.id])
    assert root.kinds("released")[-1]["accepted"] == [one.id]
    root.close()
    one.close()


def test_a_device_of_a_lower_rank_counts(tmp_path: Path, base: Path) -> None:
    root_folder = make_root(tmp_path / "root", base)
    small = peer(add_child(root_folder, tmp_path / "small", base, rank=2))
    root = peer(root_folder)
    start_root(root.node)
    parent = root.parent()
    answer(parent, small, by_child(parent.step())[small.id])
    moved = root.node.vector(root.node.state.own.adapter).reshape(-1, 4)
    assert np.abs(moved[:, :2]).max() > 0
    assert np.abs(moved[:, 2:]).max() == 0
    root.close()
    small.close()


def test_a_child_without_text_abstains_and_the_round_goes_on(tmp_path: Path, base: Path) -> None:
    root_folder = make_root(tmp_path / "root", base)
    one = peer(add_child(root_folder, tmp_path / "one", base))
    empty = peer(add_child(root_folder, tmp_path / "empty", base, texts=[]))
    root = peer(root_folder)
    start_root(root.node)
    parent = root.parent()
    asked = by_child(parent.step())
    answer(parent, empty, asked[empty.id])
    answer(parent, one, asked[one.id])
    assert root.kinds("abstained")[0]["reason"] == "no-data"
    assert root.kinds("released")[-1]["accepted"] == [one.id]
    for p in (root, one, empty):
        p.close()


# -- what is refused, each with its own code, while the round completes ------------------------


def forged(
    device: Peer, honest: Blobs, change: Callable[[Update], Update], **parts: bytes
) -> Blobs:
    """The device's own update with something changed, signed with its own key."""
    sealed = Envelope.decode(honest["envelope"])
    update = open_envelope(sealed, Update, device.home.key.public)
    return {
        "envelope": seal(change(update), device.home.key).encode(),
        "payload": parts.get("payload", honest["payload"]),
    }


def with_payload(device: Peer, honest: Blobs, payload: bytes) -> Blobs:
    """An update that declares another payload correctly."""
    return forged(
        device,
        honest,
        lambda u: replace(u, payload=digest_of(payload), length=len(payload)),
        payload=payload,
    )


def nan_payload(device: Peer, honest: Blobs) -> Blobs:
    size = device.node.size
    scale = np.full(-(-size // 256), np.nan, np.float32)
    data = write_tensors({"q": np.zeros(size, np.int8), "scale": scale})
    return with_payload(device, honest, data)


def wrong_shape(device: Peer, honest: Blobs) -> Blobs:
    form = open_envelope(
        Envelope.decode(honest["envelope"]), Update, device.home.key.public
    ).payload_format
    return with_payload(
        device, honest, encode_delta(np.zeros(device.node.size - 1, np.float32), form)
    )


def huge_payload(device: Peer, honest: Blobs) -> Blobs:
    return with_payload(device, honest, honest["payload"] + bytes(2**20))


def too_strong(device: Peer, honest: Blobs) -> Blobs:
    form = open_envelope(
        Envelope.decode(honest["envelope"]), Update, device.home.key.public
    ).payload_format
    return with_payload(
        device, honest, encode_delta(np.full(device.node.size, 100.0, np.float32), form)
    )


def for_another_parent(device: Peer, honest: Blobs) -> Blobs:
    return forged(device, honest, lambda u: replace(u, parent=device.id))


def from_the_future(device: Peer, honest: Blobs) -> Blobs:
    return forged(device, honest, lambda u: replace(u, version=u.version + 1))


def huge_envelope(device: Peer, honest: Blobs) -> Blobs:
    return {**honest, "envelope": honest["envelope"] + bytes(2**20)}


ATTACKS = [
    (nan_payload, "not-finite"),
    (wrong_shape, "wrong-shape"),
    (huge_payload, "payload-too-large"),
    (huge_envelope, "too-large"),
    (too_strong, "norm-too-large"),
    (for_another_parent, "wrong-parent"),
    (from_the_future, "future-version"),
]


@pytest.mark.parametrize(("attack", "code"), ATTACKS, ids=[code for _, code in ATTACKS])
def test_it_is_refused_with_its_code_and_the_round_completes(
    network: tuple[Peer, Peer, Peer], attack: Callable[[Peer, Blobs], Blobs], code: str
) -> None:
    root, one, two = network
    parent = root.parent()
    asked = by_child(parent.step())
    _, honest = one.child().answer(asked[one.id].blobs)
    parent.receive(one.id, asked[one.id].task, "update", attack(one, honest))
    assert [body["code"] for body in root.kinds("update-refused")] == [code]
    complete(parent, root, asked[two.id], two)


def test_a_replayed_update_is_refused_and_the_round_completes(
    network: tuple[Peer, Peer, Peer],
) -> None:
    root, one, two = network
    parent = root.parent()
    asked = by_child(parent.step())
    _, honest = one.child().answer(asked[one.id].blobs)
    parent.receive(one.id, asked[one.id].task, "update", honest)
    parent.receive(one.id, asked[one.id].task, "update", honest)
    assert [body["code"] for body in root.kinds("update-refused")] == ["replayed"]
    complete(parent, root, asked[two.id], two)


def test_an_update_of_another_member_is_refused(network: tuple[Peer, Peer, Peer]) -> None:
    root, one, two = network
    parent = root.parent()
    asked = by_child(parent.step())
    _, honest = one.child().answer(asked[one.id].blobs)
    parent.receive(two.id, asked[two.id].task, "update", honest)
    assert [body["code"] for body in root.kinds("update-refused")] == ["wrong-sender"]
    complete(parent, root, asked[two.id], two)


def test_an_update_more_than_five_versions_late_is_refused(
    network: tuple[Peer, Peer, Peer],
) -> None:
    root, one, _ = network
    parent = root.parent()
    asked = by_child(parent.step())
    late = one.child().answer(asked[one.id].blobs)
    for _ in range(6):
        publish(root.node, np.zeros(root.node.size, np.float32), Made(kind=ReleaseKind.ROUND))
    task = f"1-1-{one.id[:16]}"
    parent.receive(one.id, task, *late)
    assert [body["code"] for body in root.kinds("update-refused")] == ["stale"]


def test_an_update_one_version_late_still_counts_scaled(network: tuple[Peer, Peer, Peer]) -> None:
    root, one, two = network
    parent = root.parent()
    asked = by_child(parent.step())
    late = one.child().answer(asked[one.id].blobs)
    asked = finish_without(parent, root, two, asked)
    parent.receive(one.id, f"1-1-{one.id[:16]}", *late)
    finish_without(parent, root, two, asked)
    accepted = [body for body in root.kinds("update-accepted") if body["child"] == one.id]
    assert [body["staleness"] for body in accepted] == [1]
    assert accepted[0]["seat"]["scale"] == pytest.approx(2**-0.5)


def pass_deadline(clock: Clock) -> None:
    assert isinstance(clock, ManualClock)
    clock.advance(1000 * ROUNDS["deadline_s"])


def complete(parent: Parent, root: Peer, request: Request, child: Peer) -> None:
    """Finish the round with the other child's update: the deadline need not be waited for."""
    answer(parent, child, request)
    pass_deadline(root.node.clock)
    parent.step()
    assert child.id in root.kinds("released")[-1]["accepted"]


def finish_without(
    parent: Parent, root: Peer, child: Peer, asked: dict[NodeId, Request]
) -> dict[NodeId, Request]:
    """End a round that only ``child`` has answered; returns the tasks of the next."""
    before = root.node.state.own.version
    requests = answer(parent, child, asked[child.id])
    pass_deadline(root.node.clock)
    requests += parent.step()
    assert root.node.state.own.version > before
    return by_child(requests + parent.step())


def test_a_child_that_signs_unusable_updates_twice_gets_no_weight_until_it_is_pardoned(
    network: tuple[Peer, Peer, Peer],
) -> None:
    root, one, two = network
    parent = root.parent()
    asked = by_child(parent.step())
    for _ in range(2):
        _, honest = one.child().answer(asked[one.id].blobs)
        parent.receive(one.id, asked[one.id].task, "update", nan_payload(one, honest))
        asked = finish_without(parent, root, two, asked)
    assert root.node.state.rounds.is_quarantined(one.id)
    answer(parent, one, asked[one.id])
    answer(parent, two, asked[two.id])
    release = root.kinds("released")[-1]
    assert release["accepted"] == [two.id]
    assert {v["node"]: v["code"] for v in release["verdicts"]}[one.id] == "quarantined"
    enrol_again(root.node, one.id)
    assert not root.node.state.rounds.is_quarantined(one.id)


# -- tiers -------------------------------------------------------------------------------------


def ask_once(parent: Parent, child: Peer, asked: list[Request]) -> list[Request]:
    """Let the child answer until it has followed the chain and offered or declined once.

    Returns the tasks that it has not answered.
    """
    waiting = asked or parent.step()
    for _ in range(4):
        kind, blobs = child.child().answer(waiting[-1].blobs)
        waiting = parent.receive(child.id, waiting[-1].task, kind, blobs)
        if kind == "update" or not waiting:
            break
    return waiting


def test_what_a_device_learns_reaches_the_root_and_stands_once_in_the_sum(
    tmp_path: Path, base: Path
) -> None:
    root_folder = make_root(tmp_path / "root", base, ROUNDS | {"retry_s": 1})
    en_folder = add_child(root_folder, tmp_path / "en", base, scope="/en", role=Role.INTERIOR)
    clock = ManualClock(SystemClock().now_ms())
    root, en = peer(root_folder, clock), peer(en_folder, clock)
    start_root(root.node)
    top = root.parent()
    waiting = ask_once(top, en, [])  # nothing to offer yet, but it gets the chain
    device = peer(add_child(en_folder, tmp_path / "device", base, scope="/en"), clock)
    middle = en.parent()
    asked = by_child(middle.step())
    for _ in range(3):
        asked = by_child(answer(middle, device, asked[device.id]))
        effective = en.node.effective()
        clock.advance(1000)  # who had nothing to offer is asked again
        waiting = ask_once(top, en, waiting)  # offers what was added
        waiting = ask_once(top, en, waiting)  # gets the root's new release and re-bases
        np.testing.assert_allclose(en.node.effective(), effective, atol=1e-5)
    assert root.node.state.own.by_rounds
    steps = [body["step"] for body in en.kinds("gate") if body["accepted"]]
    learned = [device.node.vector(body["delta"]) for body in device.kinds("trained")]
    expected = sum(step * delta for step, delta in zip(steps, learned, strict=True))
    size = float(np.abs(expected).max())
    np.testing.assert_allclose(en.node.effective(), expected, atol=size * 3 / 127)
    for p in (root, en, device):
        p.close()
