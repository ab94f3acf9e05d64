"""Read the effective model that a state folder holds, whether its node runs or not."""

from __future__ import annotations

from dataclasses import dataclass

from nodes.errors import NodeError
from nodes.state.artefacts import ArtefactStore
from nodes.state.home import Home
from nodes.state.ledger import Ledger
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, HeldRelease
from nodes.state.vectors import Vector, sum_of
from protocol import LIMITS, decode_adapter


@dataclass(frozen=True, eq=False)
class Held:
    """The effective model of a state folder.

    Attributes:
        theta: Θ, (d,) float32: the chain and a personal device's own adapter.
        links: the releases of the chain, root first.
        learned: how often a personal device added to its own adapter; 0 where it has none.
    """

    theta: Vector
    links: tuple[HeldRelease, ...]
    learned: int

    @property
    def version(self) -> int:
        """The version of the last release of the chain; 0 before there is one."""
        return self.links[-1].version if self.links else 0


def read_state(home: Home) -> NodeState:
    """Read the state of a node from its ledger; the first state of one that never ran."""
    if not home.ledger_file.exists():
        return NodeState()
    with Ledger.open_read_only(home.ledger_file) as ledger:
        return NodeState.from_ledger(ledger)


def held(home: Home) -> Held:
    """Read the effective model in a state folder.

    Raises ``NodeError`` ``no-release`` when the node has none yet.
    """
    state = read_state(home)
    own, links = state.own, state.above.links
    if own.latest is not None:
        links = (*links, own.latest)
    if not links and own.adapter == ZERO:
        raise NodeError("no-release", f"The node of {home.scope} holds no release yet.")
    adapters = [link.adapter for link in state.above.links]
    if own.adapter != ZERO:
        adapters.append(own.adapter)
    store, size = ArtefactStore(home.folder / "artefacts", read_only=True), home.layout.size
    thetas = [decode_adapter(store.get(adapter), size, LIMITS) for adapter in adapters]
    personal = home.is_device and own.adapter != ZERO
    return Held(sum_of(thetas), links, own.version if personal else 0)
