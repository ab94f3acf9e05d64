"""One node among its peers: its part in the circle above and in the circle below.

The daemon starts the loops of ``roles`` in threads of their own; each ends when its event is set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

from nodes.config.peer_ports import peer_ports
from nodes.config.sections import NodeConfig
from nodes.machine.troubles import Troubles
from nodes.peers.above import CircleAbove
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.artefacts.service import GiveLimits, Serving
from nodes.peers.artefacts.shelf import DescribedBase
from nodes.peers.artefacts.traffic import FILE as TRAFFIC_FILE
from nodes.peers.artefacts.traffic import ByteCounts
from nodes.peers.below import CircleBelow
from nodes.peers.parent_link import ParentLink
from nodes.state.door_refusals import DoorRefusals
from nodes.state.node import Node
from protocol import NodeId


class Peers:
    """The peer service of one node.

    Args:
        link: the ways to the parent; None at a root.
        refusals: where what is refused is counted.

    Attributes:
        below: the circle of its children; None at a device.
        above: its part in the circle of its parent; None at a root.
        on_ready: told of a child that has something to send.

    Raises ``NodeError`` ``cannot-listen`` where no port can be had.
    """

    def __init__(
        self,
        node: Node,
        config: NodeConfig,
        link: ParentLink | None,
        refusals: DoorRefusals,
        troubles: Troubles,
    ) -> None:
        self.on_ready: Callable[[NodeId], None] = lambda _: None
        self._link = link
        self._counts = ByteCounts(node.home.folder / TRAFFIC_FILE, node.clock)
        ports = peer_ports(node.home, config)
        base = DescribedBase.of(node, config.model.base)
        serving = Serving(GiveLimits(), node.clock)
        self.below = self.above = None
        if config.downlink is not None and not node.home.is_device:
            self.below = CircleBelow(
                node,
                config,
                ports,
                base,
                serving,
                self._counts,
                on_ready=lambda child: self.on_ready(child),
                on_refused=refusals.count,
            )
        if link is not None:
            self.above = CircleAbove(
                node,
                config,
                ports,
                link,
                base,
                serving,
                self._counts,
                troubles,
                on_refused=refusals.count,
            )

    @property
    def fetcher(self) -> Fetcher | None:
        """What gets artefacts from the circle above; None at a root."""
        return self.above.fetcher if self.above else None

    @property
    def reached_at(self) -> tuple[str, ...]:
        """Where children reach this node's Flower link at present."""
        return self.below.whereabouts().addresses if self.below else ()

    def roles(self, stop: threading.Event) -> Mapping[str, Callable[[], None]]:
        """Return what runs until ``stop``, by the names of their threads."""
        roles: dict[str, Callable[[], None]] = {}
        if self.below:
            roles["circle"] = partial(self._serve, stop)
        if self.above and self._link:
            roles["siblings"] = partial(self.above.listen, stop)
            roles["renewals"] = partial(self._link.client.run, stop)
            roles["attendance"] = partial(self._link.client.attend, stop)
        return roles

    def look(self) -> None:
        """Tell others what is new; called every few seconds."""
        if self.below:
            self.below.look()

    def close(self) -> None:
        """Write what was counted, and close the connections; after all roles have ended."""
        self._counts.flush()
        if self._link:
            self._link.close()

    def _serve(self, stop: threading.Event) -> None:
        assert self.below is not None  # noqa: S101  it has no other role
        self.below.start()
        try:
            self.below.run(stop)
        finally:
            self.below.stop()
