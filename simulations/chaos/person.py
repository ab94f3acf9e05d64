"""What persons do to a tree: take back, take out, add by hand, shut out, let in again.

A command is a process of its own on the node's storage, as it is beside a running daemon, and may
crash like any other.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from nodes.errors import NodeError
from nodes.parent.withdrawal import withdraw
from nodes.releases.publish import publish_by_hand
from nodes.releases.rollback import promoted_since, roll_back
from nodes.state.node import Node
from nodes.trust.enrolment import certify, revoke
from protocol import NodeId, encode_adapter
from simulations.chaos.storage import Crash, Disk, Fuse
from simulations.world.members import Member


@dataclass(frozen=True)
class Person:
    """Operates the nodes of one tree.

    Args:
        disks: what each node has stored.
        fuse: of the commands; lit, it ends the next one.
    """

    rng: random.Random
    members: list[Member]
    disks: Mapping[int, Disk]
    fuse: Fuse

    def act(self) -> str:
        """Do something somewhere, and say what came of it."""
        rng = self.rng
        parents = [m for m in self.members if m.parent is not None]
        at = rng.choice(parents)
        name = rng.choice(list(_ACTS))
        if rng.random() < 0.25:
            self.fuse.light(rng.randint(1, 8), rng.random() < 0.5)
        try:
            said = _ACTS[name](self, at, self.opened(at))
        except NodeError as error:
            said = error.code
        except Crash as crash:
            said = f"crashed {crash.where}"
        self.fuse.left = None
        return f"{name} at {at.place.name}: {said}"

    def lets_everybody_in(self) -> int:
        """Enrol every child anew that is shut out or quarantined, or whose certificate was signed
        by a clock that was ahead; returns how many were."""
        count = 0
        for at in self.members:
            if at.parent is not None:
                node = self.opened(at)
                for child in [*self._out(at, node), *self._not_yet_in(at, node)]:
                    self._enrol(child, node)
                    count += 1
        return count

    def rolls_back_to_the_first(self, numbers: Collection[int]) -> None:
        """Take back all that these nodes ever released, where there is anything to take back."""
        for number in sorted(numbers):
            with suppress(NodeError):
                roll_back(self.opened(self.members[number]), 1)

    def opened(self, at: Member) -> Node:
        """A node as a command opens it: all that is stored, whatever its daemon knows."""
        daemon = at.node
        storage = self.disks[at.place.id].opened(self.fuse)
        return Node(daemon.home, at.clock, storage, daemon.randomness)

    # -- what a person does

    def _rolls_back(self, at: Member, node: Node) -> str:
        to = self.rng.randint(max(1, node.state.own.version - 6), max(1, node.state.own.version))
        return f"to {to}: version {roll_back(node, to)}"

    def _cascades(self, at: Member, node: Node) -> str:
        """A rollback, and above it what went up since is withdrawn."""
        if at.place.parent is None:
            return "nothing above"
        to = self.rng.randint(max(1, node.state.own.version - 6), max(1, node.state.own.version))
        gone = promoted_since(node, to)
        version = roll_back(node, to)
        if not gone:
            return f"to {to}: version {version}"
        above = self.opened(self.members[at.place.parent])
        done = withdraw(above, node.home.id, gone)
        return f"to {to}: version {version}, above {done.version}"

    def _withdraws(self, at: Member, node: Node) -> str:
        child = self._child(at)
        done = withdraw(node, child.node.home.id)
        return f"{child.place.name}: version {done.version}, {done.deleted} deleted"

    def _withdraws_some(self, at: Member, node: Node) -> str:
        child, made = self._child(at), node.state.own.by_rounds
        if not made:
            return "nothing yet"
        chosen = sorted(self.rng.sample(made, min(len(made), 2)))
        done = withdraw(node, child.node.home.id, chosen)
        return f"{child.place.name} from {chosen}: version {done.version}"

    def _publishes(self, at: Member, node: Node) -> str:
        seed = self.rng.getrandbits(32)
        vector = 0.3 * np.random.default_rng(seed).standard_normal(node.size)
        return f"version {publish_by_hand(node, encode_adapter(vector.astype(np.float32)))}"

    def _shuts_out(self, at: Member, node: Node) -> str:
        child = self._child(at)
        if node.state.membership.is_revoked(child.node.home.id):
            return "already"
        revoke(node, child.node.home.id)
        return child.place.name

    def _lets_in(self, at: Member, node: Node) -> str:
        out = self._out(at, node)
        if not out:
            return "nobody is out"
        child = self.rng.choice(out)
        self._enrol(child, node)
        return child.place.name

    def _out(self, at: Member, node: Node) -> list[Member]:
        """The children of a node that are shut out or quarantined."""

        def is_out(child: NodeId) -> bool:
            return node.state.membership.is_revoked(child) or node.state.rounds.is_quarantined(
                child
            )

        return [c for c in self._children(at) if is_out(c.node.home.id)]

    def _not_yet_in(self, at: Member, node: Node) -> list[Member]:
        """The children of a node whose certificates begin in the future."""

        def begins_ms(child: NodeId) -> int:
            certificate = node.certificate_of(child)
            return certificate.valid_from_ms if certificate else 0

        now = node.clock.now_ms()
        return [c for c in self._children(at) if begins_ms(c.node.home.id) > now]

    def _enrol(self, child: Member, node: Node) -> None:
        home, place = child.node.home, child.place
        certify(
            node,
            home.key.public,
            name=place.name,
            scope=place.scope,
            role=place.role,
            transport=home.certificate.transport_key,
            rank=place.machine.rank,
        )

    def _children(self, at: Member) -> list[Member]:
        return [m for m in self.members if m.place.parent == at.place.id]

    def _child(self, at: Member) -> Member:
        return self.rng.choice(self._children(at))


_ACTS: Mapping[str, Callable[[Person, Member, Node], str]] = {
    "rollback": Person._rolls_back,
    "rollback with what it made above": Person._cascades,
    "withdrawal": Person._withdraws,
    "withdrawal from some": Person._withdraws_some,
    "by hand": Person._publishes,
    "revocation": Person._shuts_out,
    "enrolment again": Person._lets_in,
}
