"""A parent's memory of which child has which artefact, because it said so.

In memory and bounded: whoever announces more than is remembered loses its own oldest entries. After
a restart children announce again, and a holder that has it no longer says so when it is asked.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nodes.machine.randomness import Randomness, SystemRandomness
from nodes.peers.artefacts.source import shuffled
from protocol import Digest, NodeId


@dataclass(frozen=True)
class HolderLimits:
    """How much is remembered, and how many holders one answer names."""

    each: int = 512
    in_all: int = 65_536
    named: int = 16


class Holders:
    """Who announced what. Thread-safe.

    Args:
        gives: whether a member can be dialled by others: who cannot takes and does not give.
    """

    def __init__(
        self,
        gives: Callable[[NodeId], bool] = lambda _: True,
        *,
        randomness: Randomness | None = None,
        limits: HolderLimits | None = None,
    ) -> None:
        self._gives, self._limits = gives, limits or HolderLimits()
        self._randomness = randomness or SystemRandomness()
        self._lock = threading.Lock()
        self._of_member: OrderedDict[NodeId, OrderedDict[Digest, None]] = OrderedDict()
        self._holders: dict[Digest, dict[NodeId, None]] = {}
        self._count = 0

    def announce(self, member: NodeId, digests: Sequence[Digest]) -> None:
        """Note what a member has, besides what it said before."""
        if not digests or not self._gives(member):
            return
        with self._lock:
            known = self._of_member.setdefault(member, OrderedDict())
            self._of_member.move_to_end(member)
            for digest in digests:
                if digest not in known:
                    self._holders.setdefault(digest, {})[member] = None
                    self._count += 1
                known[digest] = None
                known.move_to_end(digest)
                if len(known) > self._limits.each:
                    self._forget_oldest(member)
            while self._count > self._limits.in_all:
                self._forget_oldest(next(iter(self._of_member)))

    def of(self, digest: Digest, asker: NodeId) -> tuple[NodeId, ...]:
        """Name some members that have an artefact, drawn at random, without the one that asks."""
        with self._lock:
            known = [node for node in self._holders.get(digest, ()) if node != asker]
        usable = (node for node in shuffled(self._randomness, known) if self._gives(node))
        return tuple(node for node, _ in zip(usable, range(self._limits.named), strict=False))

    def forget(self, member: NodeId) -> None:
        """Forget a member: it was revoked, or left."""
        with self._lock:
            while self._of_member.get(member):
                self._forget_oldest(member)
            self._of_member.pop(member, None)

    def _forget_oldest(self, member: NodeId) -> None:
        known = self._of_member[member]
        digest, _ = known.popitem(last=False)
        if not known:
            del self._of_member[member]
        holders = self._holders[digest]
        del holders[member]
        if not holders:
            del self._holders[digest]
        self._count -= 1
