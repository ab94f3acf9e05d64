"""What must hold of a tree whatever happens to it, and who watches one node for that.

A watch reads what its node has stored since the last time, event by event, and never asks the node
what it thinks. Only one check looks into memory: that it is what the ledger says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from nodes.state.event_codec import read
from nodes.state.events import LedgerEvent
from nodes.state.ledger import START, LedgerEntry
from nodes.state.node_state import NodeState
from protocol import Digest, NodeId, banyan_pb2
from simulations.chaos.storage import Disk
from simulations.world.members import Mail, Member


class Invariant(StrEnum):
    """What may be broken."""

    COUNTED_ONCE = "counted-once"
    NO_WAY_BACK = "no-way-back"
    VERIFIED = "verified"
    LEDGER = "ledger"
    HEALING = "healing"
    NO_ERROR = "no-error"


SENTENCES: Mapping[Invariant, str] = MappingProxyType(
    {
        Invariant.COUNTED_ONCE: "An accepted update is counted once or not at all, and what a "
        "node has on offer is what was added and not counted.",
        Invariant.NO_WAY_BACK: "Versions and snapshot sequences never go back, in what a node "
        "has stored, in what it sends, and in what its children hold.",
        Invariant.VERIFIED: "Every payload that reached an aggregate was signed by a member that "
        "is not shut out, and every installed chain consists of signed releases.",
        Invariant.LEDGER: "Every ledger verifies, and what a node has in memory is what its "
        "ledger tells.",
        Invariant.HEALING: "Once faults end and all are honest, every scope learns what there is "
        "to learn, and all nodes hold the chain of their parent.",
        Invariant.NO_ERROR: "No message, crash or command ends a process by an error.",
    }
)


class Broken(Exception):
    """An invariant does not hold."""

    def __init__(self, invariant: Invariant, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant, self.what = invariant, what


def require(holds: object, invariant: Invariant, what: str) -> None:
    """Raise ``Broken`` unless it holds."""
    if not holds:
        raise Broken(invariant, what)


@dataclass
class Known:
    """What all watches know of the whole tree.

    Attributes:
        keys: the public key of every node, 32 bytes.
        above: the parent of every node but the root.
        owners: of every scope the node that owns it.
        published: of every owner its releases by version.
        undone: of every owner and version the versions (after, until] that stand no longer.
        delivered: of every parent the envelopes that reached it, by their names.
        accepted: of every (parent, child) the updates that a release counted, and its version.
        taken_back: of every parent the counted updates that it withdrew, and its version then.
    """

    keys: dict[NodeId, bytes]
    above: dict[NodeId, NodeId]
    owners: dict[str, NodeId]
    published: dict[NodeId, dict[int, Digest]] = field(default_factory=dict)
    undone: dict[tuple[NodeId, int], list[tuple[int, int]]] = field(default_factory=dict)
    delivered: dict[tuple[NodeId, str], set[bytes]] = field(default_factory=dict)
    accepted: dict[tuple[NodeId, NodeId], dict[Digest, int]] = field(default_factory=dict)
    taken_back: dict[NodeId, dict[Digest, int]] = field(default_factory=dict)

    def is_undone(self, owner: NodeId, version: int, at: int) -> bool:
        """Whether the owner's release ``at`` says that an earlier version stands no longer."""
        return any(after < version <= until for after, until in self.undone[owner, at])


class LedgerWatch:
    """That one ledger is a chain, and that it tells the state in memory.

    Attributes:
        state: folded from the ledger, beside the node's own.
    """

    def __init__(self, name: str, disk: Disk) -> None:
        self.state = NodeState()
        self._name, self._disk = name, disk
        self._head, self._seq = START, 0

    def fresh(self) -> list[tuple[LedgerEntry, LedgerEvent]]:
        """Check and fold what was appended since the last time; returns it."""
        appended: list[tuple[LedgerEntry, LedgerEvent]] = []
        for entry in self._disk.ledger.events(after=self._seq):
            self._require(
                (entry.seq, entry.previous) == (self._seq + 1, self._head),
                f"event {entry.seq} does not follow the one before",
            )
            self._check_claim(entry)
            self._seq, self._head = entry.seq, entry.digest
            event = read(entry)
            self.state.apply(event, entry.at_ms)
            appended.append((entry, event))
        return appended

    @property
    def head(self) -> Digest:
        """The digest of the last event."""
        return self._head

    def check_memory(self, member: Member) -> None:
        """That the state and the open round in memory are those of the ledger."""
        self._require(member.node.state == self.state, "memory and ledger tell different states")
        if member.parent is None or member.node.state.own.latest is None:
            return
        machine, state = member.parent._machine, self.state
        held = machine.open
        opened = state.rounds.open
        self._require(
            (held and held.number) == (opened and opened.round),
            "another round is open in memory than in the ledger",
        )
        self._require(machine.next_round == state.rounds.next, "the next round differs in memory")
        self._require(
            machine.counted == state.rounds.counted, "who was counted when differs in memory"
        )
        if held and opened:
            seats = {c: slot.update for c, slot in held.slots.items() if slot.update}
            self._require(
                seats == {child: seat.update for child, seat in opened.seated.items()},
                "other updates are seated in memory than in the ledger",
            )

    def check_anew(self) -> None:
        """That the whole ledger verifies, its claims too, and folds to the same state again."""
        try:
            self._disk.ledger.verify()
        except Exception as error:
            raise Broken(Invariant.LEDGER, f"{self._name}: {error}") from None
        for entry in self._disk.ledger.events():
            self._check_claim(entry)
        anew = NodeState.from_ledger(self._disk.ledger)
        self._require(anew == self.state, "the ledger folds to another state than before")

    def _check_claim(self, entry: LedgerEntry) -> None:
        if claim := entry.claim:
            taken = self._disk.ledger.taken(claim.node, claim.round, claim.task)
            self._require(taken, f"the claim of event {entry.seq} is forgotten")

    def _require(self, holds: object, what: str) -> None:
        require(holds, Invariant.LEDGER, f"{self._name}: {what}")


@dataclass
class SentWatch:
    """That what a parent sends never goes back."""

    name: str
    version: int = 0
    sequence: int = 0

    def sent(self, mail: Mail) -> None:
        """Look at a task on its way."""
        if mail.kind != "task":
            return
        envelope = banyan_pb2.Envelope.FromString(mail.blobs["task"])
        version = banyan_pb2.Task.FromString(envelope.payload).version
        self._require(version >= self.version, f"version {version} after {self.version}")
        self.version = version
        if "snapshot" in mail.blobs:
            envelope = banyan_pb2.Envelope.FromString(mail.blobs["snapshot"])
            sequence = banyan_pb2.Snapshot.FromString(envelope.payload).sequence
            self._require(sequence >= self.sequence, f"sequence {sequence} after {self.sequence}")
            self.sequence = sequence

    def _require(self, holds: bool, what: str) -> None:
        require(holds, Invariant.NO_WAY_BACK, f"{self.name} sent {what}")
