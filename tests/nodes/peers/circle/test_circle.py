"""The list of a circle: signed by the parent, kept by its children, never older than before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nodes.errors import NodeError
from nodes.machine.clock import ManualClock, SystemClock
from nodes.peers.circle.book import CircleBook
from nodes.peers.circle.keeper import CIRCLE_FILE, LIFE_MS, CircleKeeper
from nodes.state.home import Home, open_home
from nodes.trust.enrolment import revoke, suspend
from protocol import Code, Digest, Envelope, Refused, Role, SigningKey, digest_of, seal
from tests.nodes.network import Peer, add_child, make_root, peer

MANIFEST = digest_of(b"the files of the base")


class World:
    """A root with two devices, and each side's view of the circle."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.clock = ManualClock(SystemClock().now_ms())
        self.root: Peer = peer(make_root(folder / "root", base), self.clock)
        self.homes: dict[str, Home] = {}
        for name in ("clinic", "ward"):
            add_child(folder / "root", folder / name, base)
            self.homes[name] = open_home(folder / name, self.clock.now_ms())
        self.root.node.catch_up()
        self.keeper = self.new_keeper()

    def new_keeper(self) -> CircleKeeper:
        return CircleKeeper(self.root.node, lambda: MANIFEST)

    def book(self, name: str = "clinic") -> CircleBook:
        return CircleBook(self.homes[name], self.clock.now_ms)

    def transport(self, name: str) -> Digest:
        member = self.root.node.state.membership.get(self.homes[name].id)
        assert member is not None
        return member.transport


@pytest.fixture
def world(tmp_path: Path, base: Path) -> Iterator[World]:
    made = World(tmp_path, base)
    yield made
    made.root.close()


def test_children_learn_of_each_other_from_the_parents_list(world: World) -> None:
    ward = world.homes["ward"].id
    world.keeper.heard(ward, ["10.0.0.8:7000", "10.0.0.8:7000"], 7001)
    world.keeper.dialled(ward, ["10.0.0.8:7000"], 1)
    circle, sealed = world.keeper.current()
    book = world.book()
    assert book.take(sealed)
    assert not book.take(sealed)
    assert book.manifest == MANIFEST
    (sibling,) = book.siblings()
    assert (sibling.node, sibling.addresses, sibling.swarm_port) == (
        ward,
        ("10.0.0.8:7000",),
        7001,
    )
    assert not world.book("ward").siblings()  # it has no list yet
    again = world.book()
    assert again.sequence == circle.sequence  # kept for when the parent is gone


def test_who_calls_is_known_by_its_key_to_the_parent_and_to_siblings(world: World) -> None:
    _, sealed = world.keeper.current()
    book = world.book()
    book.take(sealed)
    for identify in (world.keeper.identify, book.identify):
        caller = identify(world.transport("ward"), "10.0.0.8")
        assert (caller.node, caller.role, caller.name) == (
            world.homes["ward"].id,
            Role.DEVICE,
            "ward",
        )
        with pytest.raises(NodeError) as caught:
            identify(digest_of(b"a stranger's key"), "10.0.0.9")
        assert caught.value.code == "not-a-member"


def test_a_child_that_is_out_is_refused_by_the_parent_and_soon_by_its_siblings(
    world: World,
) -> None:
    book = world.book()
    book.take(world.keeper.current()[1])
    suspend(world.root.node, world.homes["ward"].id)
    revoke(world.root.node, world.homes["clinic"].id)
    for name, code in (("ward", "suspended"), ("clinic", "revoked")):
        with pytest.raises(NodeError) as caught:
            world.keeper.identify(world.transport(name), "10.0.0.8")
        assert caught.value.code == code
    book.take(world.keeper.current()[1])
    with pytest.raises(NodeError):
        book.identify(world.transport("ward"), "10.0.0.8")


def test_the_list_is_signed_anew_only_when_something_changed_or_it_grows_old(
    world: World,
) -> None:
    first, _ = world.keeper.current()
    assert world.keeper.current()[0] is first
    world.clock.advance(LIFE_MS // 2 + 1)
    second, _ = world.keeper.current()
    assert second.sequence > first.sequence
    suspend(world.root.node, world.homes["ward"].id)
    third, _ = world.keeper.current()
    assert third.sequence > second.sequence
    assert [m.node for m in third.members] == [world.homes["clinic"].id]


@pytest.mark.parametrize("lost", [False, True])
def test_the_sequence_does_not_go_back_after_a_restart(world: World, lost: bool) -> None:
    ward = world.homes["ward"].id
    world.keeper.heard(ward, ["10.0.0.8:7000"], 0)
    world.keeper.dialled(ward, ["10.0.0.8:7000"], 1)
    first, _ = world.keeper.current()
    if lost:
        (world.root.home.folder / CIRCLE_FILE).unlink()
        world.clock.advance(1000)
    again = world.new_keeper()
    assert again.current()[0].sequence > first.sequence
    assert bool(again.contacts()) is not lost


def test_new_addresses_are_dialled_before_they_are_told_to_siblings(world: World) -> None:
    ward = world.homes["ward"].id
    world.keeper.heard(ward, ["10.0.0.8:7000"], 0)
    world.keeper.dialled(ward, ["10.0.0.8:7000"], 5)
    world.keeper.heard(ward, ["10.0.0.9:7000"], 0)
    contact = world.keeper.contacts()[ward]
    assert (contact.dialled, contact.tried_ms) == ((), 0)


def test_a_list_that_the_parent_did_not_sign_is_refused_and_so_is_an_older_one(
    world: World,
) -> None:
    circle, sealed = world.keeper.current()
    book = world.book()
    with pytest.raises(Refused) as forged:
        book.take(seal(circle, SigningKey.generate()).encode())
    assert forged.value.code is Code.BAD_SIGNATURE
    own = world.root.home.key
    with pytest.raises(Refused) as other:
        book.take(seal(replace(circle, network=digest_of(b"another")), own).encode())
    assert other.value.code is Code.WRONG_NETWORK
    book.take(sealed)
    with pytest.raises(Refused) as back:
        book.take(seal(replace(circle, sequence=circle.sequence - 1), own).encode())
    assert back.value.code is Code.VERSION_WENT_BACK
    changed = Envelope.decode(sealed)
    assert book.sequence == circle.sequence
    assert changed.digest


def test_an_ended_list_names_nobody(world: World) -> None:
    book = world.book()
    book.take(world.keeper.current()[1])
    assert book.present()
    world.clock.advance(LIFE_MS + 10 * 60_000)
    assert not book.present()
    with pytest.raises(Refused) as caught:
        world.book("ward").take((world.homes["clinic"].folder / "circle.env").read_bytes())
    assert caught.value.code is Code.EXPIRED
