"""A child whose parent is silent learns of the chain's newest snapshot from its siblings."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nodes.errors import NodeError
from nodes.machine.randomness import SeededRandomness
from nodes.machine.troubles import Troubles
from nodes.peers.circle.sibling_watch import (
    ASK_EVERY_S,
    AT_ONCE,
    JITTER,
    SILENT_S,
    Sibling,
    SiblingWatch,
)
from nodes.peers.circle.snapshots import SnapshotService
from nodes.releases.publish import Made, publish
from protocol import Digest, NodeId, ReleaseKind, digest_of
from protocol.peer_pb2 import WatchReply, WatchRequest
from tests.nodes.toy import Tree, tree


class Ward:
    """The circle of a root that falls silent: devices that heard more or less of it."""

    def __init__(self, made: Tree, folder: Path) -> None:
        self.made, self.root = made, made.root()
        self.devices = {
            name: made.child(self.root, name, "/", None) for name in ("lost", "ward", "lab")
        }
        self.lost = self.devices["lost"]
        self.release("ward", "lab", "lost")
        self.asked: list[str] = []
        self.refused: list[tuple[str, str]] = []
        self.installed = 0
        self.holds = True
        self.siblings: list[Sibling] = []
        self.troubles = Troubles(folder / "troubles.json", made.clock)
        self.watch = SiblingWatch(
            self.lost.node,
            self.lost.child(),
            siblings=lambda: self.siblings,
            fetch=self.fetch,
            clock=made.clock,
            randomness=SeededRandomness(1),
            troubles=self.troubles,
            on_refused=lambda sibling, why: self.refused.append((sibling.name, why.code.value)),
            on_installed=self.count,
        )

    def release(self, *names: str) -> None:
        """A release of the root that reaches some of the devices."""
        moved = np.full(self.root.node.size, 0.75, np.float32)
        publish(self.root.node, moved, Made(kind=ReleaseKind.BY_HAND))
        self.root.close_round()
        self.root.members = {name: self.devices[name] for name in names}
        self.root.rounds()

    def count(self) -> None:
        self.installed += 1

    def fetch(self, digest: Digest) -> bytes | None:
        return self.root.node.artefacts.get(digest) if self.holds else None

    def sibling(self, name: str) -> Sibling:
        """A device as a sibling that can be asked."""
        member = self.devices[name]
        service = SnapshotService(member.node, wait_s=0.01)

        def ask(request: WatchRequest) -> WatchReply:
            self.asked.append(name)
            return asyncio.run(service.watch_snapshot(None, request))

        return Sibling(member.node.home.id, name, ask)

    def pass_s(self, seconds: float) -> None:
        self.made.clock.advance(round(seconds * 1000))

    @property
    def sequence(self) -> int:
        return self.lost.node.state.above.sequence

    @property
    def trouble(self) -> str:
        return " ".join(t.sentence for t in self.troubles.standing)


@pytest.fixture
def circle(tmp_path: Path, base: Path) -> Iterator[Ward]:
    with tree(tmp_path, base) as made:
        yield Ward(made, tmp_path)


def test_siblings_are_asked_once_the_parent_is_silent_and_not_too_often(circle: Ward) -> None:
    circle.siblings = [circle.sibling("ward")]
    circle.pass_s(SILENT_S - 1)
    circle.watch.step()
    circle.watch.heard()
    circle.pass_s(SILENT_S - 1)
    circle.watch.step()
    assert circle.asked == []
    circle.pass_s(1)
    circle.watch.step()
    assert circle.asked == ["ward"]
    circle.pass_s(ASK_EVERY_S - 0.1)
    circle.watch.step()
    assert len(circle.asked) == 1
    circle.pass_s(ASK_EVERY_S * JITTER + 0.1)
    circle.watch.step()
    assert len(circle.asked) == 2


def test_the_newest_that_a_sibling_has_is_installed(circle: Ward) -> None:
    circle.release("ward", "lab")
    circle.release("ward")
    circle.siblings = [circle.sibling("lab"), circle.sibling("ward")]
    circle.pass_s(SILENT_S)
    followed = circle.watch.step()
    assert followed is not None and not followed.code
    newest = circle.devices["ward"].node.state.above
    assert circle.lost.node.state.above.snapshot == newest.snapshot
    assert circle.installed == 1 and not circle.trouble


def test_one_that_sends_what_does_not_verify_is_named_and_the_others_are_used(
    circle: Ward,
) -> None:
    circle.release("ward", "lab")
    good = circle.sibling("ward")
    snapshot = good.ask(WatchRequest(scope="/", have=0))

    def garbled(_: WatchRequest) -> WatchReply:
        return WatchReply(
            snapshot=snapshot.snapshot, releases=[r[:-1] + b"!" for r in snapshot.releases]
        )

    def broken(_: WatchRequest) -> WatchReply:
        raise NodeError("link-down", "Nobody answers.")

    def rubbish(_: WatchRequest) -> WatchReply:
        return WatchReply(snapshot=b"rubbish")

    def crashes(_: WatchRequest) -> WatchReply:
        raise ValueError

    strangers = {"garbler": garbled, "rubbish": rubbish, "crashes": crashes}
    circle.siblings = [
        good,
        *(Sibling(NodeId(digest_of(n.encode())), n, ask) for n, ask in strangers.items()),
    ]
    circle.pass_s(SILENT_S)
    followed = circle.watch.step()
    assert followed is not None and not followed.code
    assert sorted(name for name, _ in circle.refused) == ["garbler", "rubbish"]
    assert circle.sequence == circle.devices["ward"].node.state.above.sequence
    circle.siblings = [Sibling(NodeId(digest_of(b"x")), "broken", broken)]
    circle.pass_s(2 * ASK_EVERY_S)
    assert circle.watch.step() is None


def test_a_sibling_that_repeats_what_is_known_is_not_blamed(circle: Ward) -> None:
    old = circle.sibling("lab").ask(WatchRequest(scope="/", have=0))
    circle.release("ward", "lab", "lost")
    circle.siblings = [Sibling(NodeId(digest_of(b"y")), "late", lambda _: old)]
    circle.pass_s(SILENT_S)
    assert circle.watch.step() is None
    assert not circle.refused


def test_what_cannot_be_fetched_is_told_and_installed_when_it_can(circle: Ward) -> None:
    circle.release("ward")
    circle.holds = False
    circle.siblings = [circle.sibling("ward")]
    before = circle.sequence
    circle.pass_s(SILENT_S)
    circle.watch.step()
    version = circle.root.node.state.own.version
    assert f"Learned of version {version} of / from ward, waiting for" in circle.trouble
    assert circle.sequence == before
    circle.holds, circle.siblings = True, []  # another one has it; ward itself is gone
    circle.pass_s(2 * ASK_EVERY_S)
    circle.watch.step()
    assert circle.sequence > before and not circle.trouble


def test_what_the_parent_brings_meanwhile_is_not_waited_for_any_more(circle: Ward) -> None:
    circle.release("ward")
    circle.holds = False
    circle.siblings = [circle.sibling("ward")]
    circle.pass_s(SILENT_S)
    circle.watch.step()
    assert circle.trouble
    circle.release("lost")
    circle.watch.heard()
    circle.watch.step()
    assert not circle.trouble


def test_a_wrong_adapter_is_refused_and_changes_nothing(circle: Ward) -> None:
    circle.release("ward")
    circle.siblings = [circle.sibling("ward")]
    circle.watch._fetch = lambda _: b"another"
    before = circle.sequence
    circle.pass_s(SILENT_S)
    assert circle.watch.step() is None
    assert circle.sequence == before and "wrong-digest" in {
        t.code for t in circle.troubles.standing
    }


def test_only_some_of_many_siblings_are_asked_at_a_time(circle: Ward) -> None:
    names: list[str] = []

    def silent(name: str) -> Sibling:
        def ask(_: WatchRequest) -> WatchReply:
            names.append(name)
            return WatchReply()

        return Sibling(NodeId(digest_of(name.encode())), name, ask)

    circle.siblings = [silent(f"s{number}") for number in range(50)]
    circle.pass_s(SILENT_S)
    circle.watch.step()
    assert len(set(names)) == AT_ONCE


def test_whatever_installing_refuses_is_told(circle: Ward) -> None:
    class Refusing:
        """An installer for which the chain is harmful."""

        def check_snapshot(self, *args: object) -> object:
            return circle.lost.child().check_snapshot(*args)  # type: ignore[arg-type]

        def follow_snapshot(self, *_: object) -> object:
            raise NodeError("harmful-chain", "It harms.")

    circle.release("ward")
    circle.watch._installer = Refusing()  # type: ignore[assignment]
    circle.siblings = [circle.sibling("ward")]
    circle.pass_s(SILENT_S)
    assert circle.watch.step() is None
    assert "It harms." in circle.trouble
