"""All watches of one world: who looks at which node, and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nodes.state.events import (
    ChainInstalled,
    LedgerEvent,
    Released,
    RoundClosed,
    UpdateAccepted,
    UpdateRefused,
)
from nodes.state.node_state import NodeState
from protocol import Digest, Role
from simulations.chaos import proof
from simulations.chaos.chains import Chains
from simulations.chaos.counting import Counting
from simulations.chaos.invariants import Known, LedgerWatch, SentWatch
from simulations.chaos.storage import Disk
from simulations.world.members import Mail, Member


@dataclass
class _OfNode:
    ledger: LedgerWatch
    counting: Counting
    chains: Chains
    sent: SentWatch


class Watches:
    """Watches every node of a tree.

    Args:
        disks: what each node has stored.
    """

    def __init__(self, members: Sequence[Member], disks: Mapping[int, Disk]) -> None:
        self._members = members
        self._ids = [member.node.home.id for member in members]
        self._known = Known(
            keys={m.node.home.id: m.node.home.key.public.raw for m in members},
            above={
                self._ids[m.place.id]: self._ids[m.place.parent]
                for m in members
                if m.place.parent is not None
            },
            owners={
                str(m.place.scope): m.node.home.id
                for m in members
                if m.place.role is not Role.DEVICE
            },
        )
        self._counts: Counter[str] = Counter()
        self._of = [self._watch(m, disks[m.place.id]) for m in members]
        for number in range(len(members)):
            self.look(number)

    def _watch(self, member: Member, disk: Disk) -> _OfNode:
        name, node = member.place.name, member.node.home.id
        size = member.node.size
        return _OfNode(
            LedgerWatch(name, disk),
            Counting(name, node, size, disk.artefacts, self._known),
            Chains(name, node, disk.artefacts, self._known),
            SentWatch(name),
        )

    def arrives(self, number: int, mail: Mail) -> None:
        """Mail is about to be read by a node."""
        if mail.kind != "update" or "envelope" not in mail.blobs:
            return
        envelope = mail.blobs["envelope"]
        if name := proof.named(envelope):
            self._known.delivered.setdefault((self._ids[number], name), set()).add(envelope)

    def sent(self, number: int, mail: Mail) -> None:
        """A node sends mail."""
        self._of[number].sent.sent(mail)

    def look(self, number: int) -> None:
        """Check what a node has stored since the last time."""
        watches = self._of[number]
        fresh = watches.ledger.fresh()
        for entry, event in fresh:
            # Chains first: what is published must be known when it is counted.
            watches.chains.take(event)
            watches.counting.take(event, entry.claim)
            if name := _counted_as(event):
                self._counts[name] += 1
        if fresh and self._ids[number] in self._known.above:
            watches.counting.check_offer(watches.ledger.state)

    def check_memory(self, number: int) -> None:
        """Check that a node has in memory what its ledger tells."""
        self._of[number].ledger.check_memory(self._members[number])

    def check_anew(self, number: int) -> None:
        """Fold a node's ledger from the start."""
        self._of[number].ledger.check_anew()

    def check_all_anew(self) -> None:
        """Fold every ledger from the start."""
        for number in range(len(self._members)):
            self.check_anew(number)

    def state(self, number: int) -> NodeState:
        """What a node's ledger tells, whatever its process knows of it."""
        return self._of[number].ledger.state

    def head(self, number: int) -> Digest:
        """The digest of a node's last event."""
        return self._of[number].ledger.head

    def counts(self) -> Counter[str]:
        """How often events that matter were recorded."""
        return self._counts


def _counted_as(event: LedgerEvent) -> str:
    """The name under which a report counts an event; empty for one that it does not count."""
    match event:
        case UpdateRefused():
            return f"refused {event.code}"
        case Released():
            return f"released {event.kind}"
        case RoundClosed():
            return f"closed {event.outcome}"
        case UpdateAccepted() | ChainInstalled():
            return event.KIND
    return ""
