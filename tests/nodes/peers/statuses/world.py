"""Trees of signers for tests of statuses: real keys and certificates, a real parent, no model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nodes.machine.clock import Clock, ManualClock, SystemClock
from nodes.model.coordinates import Coordinates
from nodes.model.layout import Layer, Layout
from nodes.peers.statuses.book import BOOK_LIMITS, BookLimits, StatusBook
from nodes.peers.statuses.rows import StatusFile
from nodes.state.home import Home, open_home
from nodes.state.node import Node
from nodes.trust.enrolment import certify, enrol_folder
from nodes.trust.network import first_certificate, init_network
from nodes.trust.transport_keys import generate_transport_key, transport_public_pem
from protocol import (
    Certificate,
    Digest,
    Envelope,
    Network,
    NodeId,
    Role,
    Scope,
    SigningKey,
    Status,
    digest_of,
    seal,
)
from protocol.peer_pb2 import Signed

NONE = Digest("")
TRANSPORT = transport_public_pem(generate_transport_key())
"""Of all who are below the children: nobody reads it."""


def coordinates() -> Coordinates:
    """Of no real model: nothing here computes."""
    layout = Layout((Layer("layer", 4, 4),), 2)
    return Coordinates(
        base=digest_of(b"base"),
        tokenizer=digest_of(b"tokenizer"),
        layout=layout.to_json(),
        layout_digest=layout.digest,
        basis=b"basis",
        rank=2,
        targets=("layer",),
    )


def a_root(folder: Path, clock: Clock) -> Node:
    """A network's root, open."""
    return Node(init_network(folder, "test", coordinates(), clock), clock)


def a_child(parent: Node, folder: Path, scope: str, role: Role) -> Home:
    """A child with a folder of its own."""
    return enrol_folder(parent, folder, folder.name, Scope.parse(scope), role, ["127.0.0.1:1"])


@dataclass(frozen=True)
class Signer:
    """A node of which only the key and the certificate exist."""

    network: Network
    key: SigningKey
    certificate: Certificate
    envelope: bytes

    @property
    def id(self) -> NodeId:
        return self.certificate.node

    def below(self, name: str, role: Role = Role.DEVICE, *, now_ms: int, **changes: Any) -> Signer:
        """A node that this one certified."""
        own, key = self.certificate.scope, SigningKey.generate()
        certificate = first_certificate(
            self.network,
            key.public,
            name=name,
            scope=own if role is Role.DEVICE else own.child(name),
            role=role,
            parent=self.id,
            parent_scope=own,
            transport=TRANSPORT,
            now_ms=now_ms,
        )
        certificate = replace(certificate, **changes)
        return Signer(self.network, key, certificate, seal(certificate, self.key).encode())

    def status(self, issued_ms: int, **changes: Any) -> Status:
        own = self.certificate
        values: dict[str, Any] = {
            "network": own.network,
            "node": own.node,
            "scope": own.scope,
            "role": own.role,
            "name": own.name,
            "issued_ms": issued_ms,
            "started_ms": issued_ms,
            "software": "banyan-fl 0.1.0",
            "version": 7,
            "chain": NONE,
            "ledger": digest_of(b"head"),
            "events": 12,
            "round": 3,
            "round_open": False,
            "outcome": "",
            "children": (),
            "members": (),
            "refused": (),
            "troubles": (),
            "disk_free": 10**10,
            "disk_used": 10**6,
            "membership_until_ms": own.valid_until_ms,
            "link_until_ms": issued_ms + 7 * 86_400_000,
            "way": "10.0.0.7:9941",
            "confined": False,
            "hidden": 0,
            "nonce": b"",
        }
        return Status(**values | changes)

    def signed(self, issued_ms: int, **changes: Any) -> Signed:
        """A status of this node, as it would hand it in."""
        statement = seal(self.status(issued_ms, **changes), self.key).encode()
        return Signed(statement=statement, certificate=self.envelope)


def a_member(parent: Node, name: str, role: Role = Role.INTERIOR) -> Signer:
    """A child of a real parent: enrolled in its ledger, without a folder."""
    key, home = SigningKey.generate(), parent.home
    scope = home.scope if role is Role.DEVICE else home.scope.child(name)
    transport = transport_public_pem(generate_transport_key())
    envelope = certify(parent, key.public, name=name, scope=scope, role=role, transport=transport)
    payload = Envelope.decode(envelope).payload
    return Signer(home.network, key, Certificate.from_bytes(payload), envelope)


@dataclass
class World:
    """A root with its book, and two children ``en`` and ``fr``, on a clock that stands."""

    root: Node
    clock: ManualClock
    en: Signer
    fr: Signer
    book: StatusBook

    @property
    def now(self) -> int:
        return self.clock.now_ms()

    def again(self, limits: BookLimits = BOOK_LIMITS) -> StatusBook:
        """The same book, as a process that starts now reads it."""
        self.book.close()
        self.book = StatusBook(self.root, StatusFile(self.root.home.folder), limits)
        return self.book

    def kept(self) -> set[str]:
        """The names of those of whom there is a status."""
        return {row.name for row in self.book.file.rows()}


@contextmanager
def a_world(folder: Path) -> Iterator[World]:
    clock = ManualClock(SystemClock().now_ms())
    root = a_root(folder / "root", clock)
    en, fr = a_member(root, "en"), a_member(root, "fr")
    world = World(root, clock, en, fr, StatusBook(root, StatusFile(folder / "root")))
    try:
        yield world
    finally:
        world.book.close()
        root.close()


def reopened(folder: Path, clock: Clock) -> Node:
    return Node(open_home(folder, clock.now_ms()), clock)
