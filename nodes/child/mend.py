"""Go on without vectors of this node's own that are damaged or lost: nobody else has them.

A device that lost its adapter begins again with the chain. Where the baseline or a copy under way
is lost, everything that the node holds counts as counted: what it had not offered yet does not go
up, and nothing goes up twice.
"""

from __future__ import annotations

import structlog

from nodes.state.events import LedgerEvent, PositionMended
from nodes.state.node import Node
from nodes.state.records import ZERO
from protocol import Digest

log = structlog.get_logger()


def mend_position(node: Node) -> bool:
    """Record that lost vectors of the node's own are given up; return whether any were.

    What is part of a chain is not given up: it comes again from the parent or from children.
    """
    intact = node.artefacts.intact

    def is_lost(digest: Digest) -> bool:
        return digest != ZERO and not intact(digest)

    def build() -> list[LedgerEvent]:
        own, offers = node.state.own, node.state.offers
        adapter_lost = node.home.is_device and is_lost(own.adapter)
        others = (offers.baseline, *offers.fresh, *(sent.copy for sent in offers.sent.values()))
        if not adapter_lost and not any(map(is_lost, others)):
            return []
        adapter = ZERO if adapter_lost else own.adapter
        return [PositionMended(adapter=adapter, baseline=adapter)]

    mended = bool(node.transact(build))
    if mended:
        log.error("position-mended", adapter=node.state.own.adapter or "none")
    return mended
