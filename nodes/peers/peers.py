"""One node among its peers: its part in the circle above and in the circle below.

The daemon starts the loops of ``roles`` in threads of their own; each ends when its event is set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial

from nodes.child.child import Child
from nodes.config.sections import NodeConfig
from nodes.machine.troubles import Troubles
from nodes.peers.above import CircleAbove
from nodes.peers.artefacts.fetch import Fetcher
from nodes.peers.below import CircleBelow
from nodes.peers.parent_link import ParentLink
from nodes.peers.parts import PeerParts
from nodes.peers.statuses.reporter import Reporter
from nodes.state.door_refusals import DoorRefusals
from nodes.state.node import Node
from protocol import NodeId, peer_pb2


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
        parts = self._parts = PeerParts.of(node, config, troubles, lambda: link.way if link else "")
        self._sequences = self._snapshots_now()
        self.below = self.above = None
        if config.downlink is not None and not node.home.is_device:
            self.below = CircleBelow(
                parts,
                on_ready=lambda child: self.on_ready(child),
                on_refused=refusals.count,
            )
        if link is not None:
            self.above = CircleAbove(
                parts,
                link,
                on_refused=refusals.count,
                on_listening=lambda: self._reporter.hurry(),
            )
            link.on_notice, link.on_renewed = self._hear, self.above.renewed
        self._reporter = Reporter(
            node.home.id,
            parts.own,
            parts.book,
            link.report if link else None,
            node.clock,
            troubles,
            about=self.above.about if self.above else peer_pb2.ReportRequest,
        )

    @property
    def fetcher(self) -> Fetcher | None:
        """What gets artefacts from the circle above; None at a root."""
        return self.above.fetcher if self.above else None

    @property
    def reached_at(self) -> tuple[str, ...]:
        """Where children reach this node's Flower link at present."""
        return self.below.whereabouts().addresses if self.below else ()

    def roles(self, child: Child | None, stop: threading.Event) -> Mapping[str, Callable[[], None]]:
        """Return what runs until ``stop``, by the names of their threads.

        Args:
            child: the node's role below its parent; None at a root.
        """
        roles: dict[str, Callable[[], None]] = {"reports": partial(self._reporter.run, stop)}
        if self.below:
            roles["circle"] = partial(self._serve, stop)
        if self.above and self._link and child:
            roles["siblings"] = partial(self.above.listen, stop)
            roles["renewals"] = partial(self._link.client.run, stop)
            roles["sibling-watch"] = partial(self.above.watch_siblings, child, stop)
            roles["receipts"] = partial(self.above.collect_receipts, stop)
            roles["attendance"] = partial(self._link.client.attend, stop)
        return roles

    def look(self) -> None:
        """Tell others what is new, and write what was counted; called every few seconds."""
        self._parts.counts.flush()
        if (now := self._snapshots_now()) != self._sequences:
            self._sequences = now
            self._parts.snapshots.notify()
        if self.below:
            self.below.look()
        if self.above:
            self.above.rest()

    def close(self) -> None:
        """Write what was counted, and close the connections; after all roles have ended."""
        self._parts.close()
        if self.above:
            self.above.close()
        if self._link:
            self._link.close()

    def _snapshots_now(self) -> tuple[int, int]:
        """Return what changes when a chain was installed or a release was made."""
        state = self._parts.node.state
        return state.above.sequence, state.sequence

    def _hear(self, said: peer_pb2.ParentSays) -> None:
        """Ask for what the parent says is new: the answer to a report has the circle."""
        if self._link and said.circle > self._link.book.sequence:
            self._reporter.hurry()

    def _serve(self, stop: threading.Event) -> None:
        assert self.below is not None  # noqa: S101  it has no other role
        self.below.start()
        try:
            self.below.run(stop)
        finally:
            self.below.stop()
