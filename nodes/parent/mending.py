"""Get back from the children what a parent lost of the chain that it hands down.

A child holds every release and adapter from the root to its parent, each named by its digest: so
a parent whose disk flipped a bit, or lost a file, asks all of them, and the first sound copy mends
it. What was never handed down, such as updates and best states, cannot come back that way; the
node does without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from nodes.parent.tasks import Request
from nodes.state.artefacts import ArtefactError
from nodes.state.node import Node
from protocol import Digest, NodeId

log = structlog.get_logger()

ASK_AGAIN_MS = 30_000


class Mending:
    """What one parent lacks of its chain."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ask_at_ms = 0
        self._count = 0
        self.lacking = self._lost()
        if self.lacking:
            log.warning("chain-damaged", digests=self.lacking)

    def requests(self, members: Sequence[NodeId], now_ms: int) -> list[Request]:
        """Ask every child for what is lacking, if it is time to."""
        if now_ms < self._ask_at_ms:
            return []
        self._ask_at_ms, self._count = now_ms + ASK_AGAIN_MS, self._count + 1
        wanted = {"wanted": " ".join(self.lacking).encode()}
        return [
            Request(child, f"lend-{self._count}", 0, wanted, now_ms + ASK_AGAIN_MS, kind="lend")
            for child in members
        ]

    def take(self, child: NodeId, blobs: Mapping[str, bytes]) -> None:
        """Store what a child lent, if it is what was lacking."""
        for data in blobs.values():
            for digest in self.lacking:
                try:
                    self._node.artefacts.heal(digest, data)
                except ArtefactError as error:
                    if error.code != "corrupt-artefact":  # not the one
                        raise
                else:
                    log.info("artefact-mended", digest=digest, lent_by=child[:12])
        self.lacking = self._lost()

    def _lost(self) -> tuple[Digest, ...]:
        state, artefacts = self._node.state, self._node.artefacts
        links = (*state.above.links, *((state.own.latest,) if state.own.latest else ()))
        chain = {digest for link in links for digest in (link.envelope, link.adapter)}
        return tuple(sorted(digest for digest in chain if not artefacts.intact(digest)))
