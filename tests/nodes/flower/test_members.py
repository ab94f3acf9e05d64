"""The door lets in the transport keys of active members, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from nodes.flower.members import MemberLinks
from nodes.machine.clock import SystemClock
from nodes.state.home import open_home
from nodes.state.node import Node
from nodes.trust.enrolment import certify, resume, revoke, suspend
from nodes.trust.transport_keys import (
    flower_node_id,
    generate_transport_key,
    transport_public_pem,
)
from protocol import NodeId, Role, Scope, SigningKey
from tests.nodes.network import make_root

KEY = SigningKey.generate().public
CHILD = NodeId(KEY.keyid)


class Door:
    """Remembers whom it would let in."""

    def __init__(self) -> None:
        self.inside: dict[int, bytes] = {}

    def admit_child(self, transport_public_pem: bytes) -> int:
        number = flower_node_id(transport_public_pem)
        self.inside[number] = transport_public_pem
        return number

    def remove_child(self, flower_id: int) -> None:
        del self.inside[flower_id]


@pytest.fixture
def root(tmp_path: Path, base: Path) -> Iterator[Node]:
    clock = SystemClock()
    home = open_home(make_root(tmp_path / "root", base), clock.now_ms())
    with closing(Node(home, clock)) as node:
        yield node


def enrol(root: Node) -> bytes:
    """Enrol the child, or renew it, with a new transport key; returns that key, PEM."""
    pem = transport_public_pem(generate_transport_key())
    certify(root, KEY, name="clinic", scope=Scope(), role=Role.DEVICE, transport=pem)
    return pem


def test_a_renewal_with_another_transport_key_changes_the_key_at_the_door(root: Node) -> None:
    links, door = MemberLinks(root), Door()
    first = enrol(root)
    links.attach(door)
    assert list(door.inside.values()) == [first]
    second = enrol(root)
    assert links.flower_ids() == {CHILD: flower_node_id(second)}
    assert list(door.inside.values()) == [second]


def test_a_revoked_member_is_let_in_no_more(root: Node) -> None:
    links, door = MemberLinks(root), Door()
    enrol(root)
    links.attach(door)
    revoke(root, CHILD)
    assert links.flower_ids() == {}
    assert door.inside == {}


def test_a_suspended_member_is_let_in_again_once_it_is_resumed(root: Node) -> None:
    links, door = MemberLinks(root), Door()
    pem = enrol(root)
    links.attach(door)
    suspend(root, CHILD)
    assert (links.flower_ids(), door.inside) == ({}, {})
    resume(root, CHILD)
    assert links.flower_ids() == {CHILD: flower_node_id(pem)}
    assert list(door.inside.values()) == [pem]
