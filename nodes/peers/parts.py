"""What both circles of a node share: made once, used by its part in each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nodes.config.peer_ports import PeerPorts, peer_ports
from nodes.config.sections import NodeConfig
from nodes.machine.troubles import Troubles
from nodes.peers.artefacts.service import GiveLimits, Serving
from nodes.peers.artefacts.shelf import DescribedBase
from nodes.peers.artefacts.traffic import FILE as TRAFFIC_FILE
from nodes.peers.artefacts.traffic import ByteCounts
from nodes.peers.circle.snapshots import SnapshotService
from nodes.peers.statuses.book import StatusBook
from nodes.peers.statuses.own import OwnStatus
from nodes.peers.statuses.rows import StatusFile
from nodes.state.node import Node

Handlers = Mapping[str, Callable[..., Any]]
"""Answers to calls, by their names."""


@dataclass(frozen=True)
class PeerParts:
    """The parts of one node's peer service.

    Attributes:
        ports: where it listens.
        base: the base's files by their digests.
        serving: bounds what is given at a time. ``counts``: of the bytes given and taken.
        snapshots: the newest of this node and of its parent.
        own: this node's status. ``book``: those from below it, in ``file``.
        troubles: what does not work now.
    """

    node: Node
    config: NodeConfig
    ports: PeerPorts
    base: DescribedBase
    serving: Serving
    counts: ByteCounts
    snapshots: SnapshotService
    own: OwnStatus
    book: StatusBook
    file: StatusFile
    troubles: Troubles

    @classmethod
    def of(
        cls, node: Node, config: NodeConfig, troubles: Troubles, way: Callable[[], str] = str
    ) -> PeerParts:
        """Make the parts of a node.

        Args:
            way: gives the address by which it reaches its parent.

        Raises ``NodeError`` ``cannot-listen`` where no port can be had.
        """
        folder, clock = node.home.folder, node.clock
        file = StatusFile(folder)
        book = StatusBook(node, file)
        own = OwnStatus(
            node,
            book,
            confined=config.peers.statuses == "parent",
            way=way,
            troubles=lambda: troubles.standing,
        )
        return cls(
            node=node,
            config=config,
            ports=peer_ports(node.home, config),
            base=DescribedBase.of(node, config.model.base),
            serving=Serving(GiveLimits(), clock),
            counts=ByteCounts(folder / TRAFFIC_FILE, clock),
            snapshots=SnapshotService(node),
            own=own,
            book=book,
            file=file,
            troubles=troubles,
        )

    def close(self) -> None:
        """Write what was counted, and close the file of statuses."""
        self.counts.flush()
        self.file.close()
