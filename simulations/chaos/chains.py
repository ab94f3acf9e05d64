"""That every release and every chain that a node holds is signed, whole, and newer than before."""

from __future__ import annotations

from nodes.state.events import ChainInstalled, LedgerEvent, Released
from nodes.state.records import HeldRelease
from protocol import NodeId, banyan_pb2
from simulations.chaos import proof
from simulations.chaos.invariants import Invariant, Known, require
from simulations.world.storage import FileArtefacts


class Chains:
    """Watches the releases and the chains of one node."""

    def __init__(self, name: str, node: NodeId, artefacts: FileArtefacts, known: Known) -> None:
        self._name, self._node = name, node
        self._artefacts, self._known = artefacts, known
        self._version = self._sequence = 0
        self._above: dict[str, int] = {}

    def take(self, event: LedgerEvent) -> None:
        """Look at one event of the ledger."""
        match event:
            case Released():
                self._released(event)
            case ChainInstalled():
                self._installed(event)

    def _released(self, event: Released) -> None:
        held, known = event.held, self._known
        version = held.version
        self._forward(version == self._version + 1, f"version {version} follows {self._version}")
        self._version = version
        self._release(held, self._node)
        known.published.setdefault(self._node, {})[version] = held.release
        known.undone[self._node, version] = list(event.undone)

    def _installed(self, event: ChainInstalled) -> None:
        sequence, parent = event.sequence, self._known.above[self._node]
        self._forward(
            sequence >= self._sequence, f"snapshot {sequence} is installed after {self._sequence}"
        )
        self._sequence = sequence
        envelope = self._artefacts.get(event.envelope)
        payload = proof.signed(envelope, self._known.keys[parent], "snapshot")
        self._signed(payload, "a snapshot is not signed by the parent")
        self._signed(proof.named(envelope) == event.snapshot, "a snapshot has another name")
        snapshot = banyan_pb2.Snapshot.FromString(payload or b"")
        self._signed(snapshot.sequence == sequence, "a snapshot has another sequence")
        stated = [(e.scope, e.version, e.release.hex(), e.adapter.hex()) for e in snapshot.chain]
        held = [(e.scope, e.version, e.release, e.adapter) for e in event.chain]
        self._signed(stated == held, "the chain is not the one of its snapshot")
        above: list[str] = []
        for entry in event.chain:
            self._link(entry, above)
            above.append(entry.release)

    def _link(self, entry: HeldRelease, above: list[str]) -> None:
        scope, version = entry.scope, entry.version
        before = self._above.get(scope, 0)
        self._forward(version >= before, f"{scope} goes from version {before} to {version}")
        self._above[scope] = version
        owner = self._known.owners[scope]
        release = self._release(entry, owner)
        self._signed(
            release.ancestors.hex() == proof.chain_digest(above),
            f"version {version} of {scope} stands on other releases",
        )
        self._signed(
            self._known.published.get(owner, {}).get(version) == entry.release,
            f"version {version} of {scope} is not the one in its owner's ledger",
        )

    def _release(self, held: HeldRelease, owner: NodeId) -> banyan_pb2.Release:
        what = f"version {held.version} of {held.scope}"
        envelope = self._artefacts.get(held.envelope)
        payload = proof.signed(envelope, self._known.keys[owner], "release")
        self._signed(payload, f"{what} is not signed by its owner")
        self._signed(proof.named(envelope) == held.release, f"{what} has another name")
        release = banyan_pb2.Release.FromString(payload or b"")
        said = (release.scope, release.version, release.adapter.hex(), release.node.hex())
        stated = (held.scope, held.version, held.adapter, owner)
        self._signed(said == stated, f"{what} says {said}")
        adapter = self._artefacts.get(held.adapter)
        self._signed(proof.digest(adapter) == held.adapter, f"{what}: its adapter is another")
        return release

    def _forward(self, holds: object, what: str) -> None:
        require(holds, Invariant.NO_WAY_BACK, f"{self._name}: {what}")

    def _signed(self, holds: object, what: str) -> None:
        require(holds, Invariant.VERIFIED, f"{self._name}: {what}")
