"""Sign what became of a child's update, bound to the release that names it."""

from __future__ import annotations

from nodes.errors import NodeError
from nodes.state.node import Node
from nodes.state.records import ZERO
from protocol import Digest, Envelope, Fate, NodeId, Receipt, seal

UNDONE = "undone"
"""The code of an update that was counted by a release which a rollback took back."""


class ReceiptDesk:
    """The receipts of one parent, from its state: no ledger is read for them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def receipt(self, child: NodeId, update: Digest) -> tuple[Envelope, bytes | None]:
        """Sign what became of an update; also return the envelope of the release that names it.

        An update that a rollback took back has the release that had counted it, and the code
        ``undone``.

        Raises:
            NodeError: ``unknown-update`` for one that this child did not send, that came to nobody,
                or that is older than what is remembered: which of these it is is not said.
            ArtefactError: when the release's envelope is damaged.
        """
        node = self._node
        with node.lock:
            known, own = node.state.fates.known.get(update), node.state.own
            if known is None or known.child != child:
                raise NodeError(
                    "unknown-update",
                    f"{node.home.scope} knows no update {update[:12]}… of this child, or none any "
                    "more.",
                )
            published = own.published.get(known.version)
            undone = known.fate is Fate.COUNTED and own.is_undone(known.version)
            now = node.clock.now_ms()
        held = published.held if published else None
        receipt = Receipt(
            network=node.home.network.network,
            node=node.home.id,
            child=child,
            update=update,
            fate=Fate.WITHDRAWN if undone else known.fate,
            code=UNDONE if undone else known.code,
            round=known.round,
            version=held.version if held else 0,
            release=held.release if held else ZERO,
            share=known.share,
            issued_ms=now,
        )
        release = node.artefacts.get(held.envelope) if held else None
        return seal(receipt, node.home.key), release
