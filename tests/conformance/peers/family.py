"""A root with releases and open updates, and its device, both with their services as the daemon
makes them; and everybody who attacks them."""

from __future__ import annotations

import datetime
import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nodes.config.peer_ports import peer_ports
from nodes.config.sections import UplinkSettings
from nodes.machine.troubles import Troubles
from nodes.peers.parent_link import ParentLink
from nodes.peers.peers import Peers
from nodes.peers.wire.client import Credentials
from nodes.peers.wire.methods import PEER
from nodes.state.door_refusals import DoorRefusals
from nodes.state.event_codec import events_of
from nodes.state.events import DoorRefused, MemberRenewed
from nodes.state.home import ENDPOINT_FILE, Home, open_home
from nodes.trust.enrolment import revoke, suspend
from nodes.trust.tls import authority_pem
from protocol import NodeId, Role, seal
from tests.conformance.peers.asking import Actor, Target, actor, until
from tests.nodes.network import add_child, make_root
from tests.nodes.toy import Member, Tree, tree

DAY = datetime.timedelta(days=1)


@dataclass
class Serving:
    """A node whose service runs."""

    member: Member
    peers: Peers
    refusals: DoorRefusals

    @property
    def home(self) -> Home:
        return self.member.node.home

    def refused(self) -> dict[str, int]:
        """How often the ledger says that this node refused something at its doors, by code."""
        self.refusals.flush()
        counts: dict[str, int] = {}
        for event in events_of(self.member.node.ledger, DoorRefused):
            assert isinstance(event, DoorRefused)
            counts[event.code] = counts.get(event.code, 0) + event.count
        return counts


@dataclass
class Family:
    """A root, its devices and its tier; ``one`` serves its siblings.

    Attributes:
        children, door: the root's listeners; ``siblings``: the one of device ``one``.
        members: who may call the root's ``children``, by name.
        strangers: who may not, by what is wrong with them.
    """

    tree: Tree
    folder: Path
    root: Serving
    one: Serving
    children: Target
    door: Target
    siblings: Target
    members: dict[str, Actor]
    strangers: dict[str, Actor]

    def running(self, child: NodeId) -> int:
        """How many calls of a child run at the root."""
        assert self.root.peers.below is not None
        return self.root.peers.below.calls.get(child, 0)

    def target_of(self, service: str) -> Target:
        return self.children if service == PEER else self.door


@contextmanager
def a_family(folder: Path, base: Path) -> Iterator[Family]:
    with ExitStack() as stack:
        made = stack.enter_context(tree(folder, base))
        root = made.root()
        rng = np.random.default_rng(1)
        for name in ("one", "two"):
            target = rng.standard_normal(root.node.size).astype(np.float32)
            made.child(root, name, "/", target)
        root.toy.target = np.mean([m.toy.target for m in root.members.values()], axis=0)
        root.rounds()
        root.rounds()
        tier = made.child(root, "en", "/en", root.toy.target, role=Role.INTERIOR)
        root.rounds()
        below = add_child(tier.node.home.folder, folder / "below", base, scope="/en")
        outs = {
            name: open_home(add_child(root.node.home.folder, folder / name, base), None)
            for name in ("revoked", "suspended", "lapsed")
        }
        root.node.catch_up()

        parent = stack.enter_context(_serving(root, None, "circle"))
        home, ports = root.node.home, peer_ports(root.node.home, root.config)
        authority = authority_pem(home.folder / "tls", home.key)
        children, door = (
            Target(f"127.0.0.1:{port}", home.id, authority) for port in (ports.port, ports.door)
        )
        until(lambda: _listens(children) and _listens(door))
        members = {n: actor(home, m.node.home) for n, m in root.members.items()}
        strangers = _strangers(made, root, outs, members["two"])
        strangers["another parent's of this network"] = actor(
            tier.node.home, open_home(below, None)
        )
        one = stack.enter_context(_sibling(root.members["one"], children, door))
        port = peer_ports(one.home, one.member.config).siblings
        siblings = Target(f"127.0.0.1:{port}", one.home.id, authority)
        until(lambda: _listens(siblings))
        (home.folder / ENDPOINT_FILE).write_text(
            json.dumps({"address": "127.0.0.1:1", "pid": os.getpid()})
        )
        yield Family(made, folder, parent, one, children, door, siblings, members, strangers)


@contextmanager
def later(family: Family, milliseconds: int) -> Iterator[None]:
    """Let it be later for every node, until the block ends."""
    clock = family.tree.clock
    now = clock.now_ms()
    clock.set_to(now + milliseconds)
    try:
        yield
    finally:
        clock.set_to(now)


def _strangers(
    made: Tree, parent: Member, outs: Mapping[str, Home], member: Actor
) -> dict[str, Actor]:
    """Shut some children out, and make others who never belonged."""
    root, node = parent.node.home, parent.node
    now = datetime.datetime.now(datetime.UTC)
    other = open_home(make_root(made.folder / "other", made.base), None)
    child = add_child(other.folder, made.folder / "foreign", made.base)
    shown_out = {name: actor(root, home) for name, home in outs.items()}
    revoke(node, outs["revoked"].id)
    suspend(node, outs["suspended"].id)
    ended = replace(
        outs["lapsed"].certificate,
        valid_from_ms=node.clock.now_ms() - 100 * 24 * 3_600_000,
        valid_until_ms=node.clock.now_ms() - 24 * 3_600_000,
    )
    sealed = node.artefacts.put(seal(ended, root.key).encode())
    node.record(MemberRenewed(child=outs["lapsed"].id, certificate=sealed))
    return {
        "no certificate": replace(member, shown=Credentials(member.shown.authority)),
        "another network's": actor(other, open_home(child, None)),
        "ended": actor(root, member.home, now - 8 * DAY),
        **shown_out,
    }


@contextmanager
def _serving(member: Member, link: ParentLink | None, *roles: str) -> Iterator[Serving]:
    """Run some of a node's roles until the block ends."""
    node = member.node
    refusals, troubles = (
        DoorRefusals(node),
        Troubles(node.home.folder / "troubles.json", node.clock),
    )
    peers, stop = Peers(node, member.config, link, refusals, troubles), threading.Event()
    running = peers.roles(member.child() if link else None, stop)
    threads = [threading.Thread(target=running[role], name=role) for role in roles]
    for thread in threads:
        thread.start()
    try:
        yield Serving(member, peers, refusals)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
        peers.close()
        assert not any(thread.is_alive() for thread in threads)


@contextmanager
def _sibling(member: Member, children: Target, door: Target) -> Iterator[Serving]:
    """Let a device get its certificates and the circle, then serve its siblings."""
    node = member.node
    uplink = UplinkSettings(addresses=("127.0.0.1:1",), doors=(door.address,))
    troubles = Troubles(node.home.folder / "troubles.json", node.clock)
    link = ParentLink(node.home, uplink, node.clock, troubles)
    assert link.client.renew()
    link.manifest()
    with _serving(member, link, "siblings") as serving:
        yield serving


def _listens(target: Target) -> bool:
    import socket

    host, _, port = target.address.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0
