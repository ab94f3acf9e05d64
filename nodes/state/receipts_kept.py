"""The updates that a node sent, and the parent's receipts for them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from nodes.state.events import ReceiptKept, UpdateSent
from nodes.state.records import Awaited, KeptReceipt
from protocol import Digest

MOST_AWAITED = 64
"""Sent updates without a receipt that a state remembers."""
MOST_KEPT = 512
"""Receipts that a state remembers."""


@dataclass
class ReceiptsKept:
    """What is known of the node's own updates, by their digests, the oldest first.

    Attributes:
        awaited: sent, and nothing final is known. ``kept``: what the parent signed of the others.
    """

    awaited: dict[Digest, Awaited] = field(default_factory=dict)
    kept: dict[Digest, KeptReceipt] = field(default_factory=dict)

    def send(self, event: UpdateSent, at_ms: int) -> None:
        """An update left."""
        self.awaited[event.update] = Awaited(event.round, event.deadline_ms, at_ms)
        _forget(self.awaited, MOST_AWAITED)

    def keep(self, event: ReceiptKept, at_ms: int) -> None:
        """A receipt came. One that contradicts an earlier one does not replace it."""
        self.awaited.pop(event.update, None)
        before = self.kept.get(event.update)
        if event.contradicts and before and not before.contradicts:
            at = before.evidence or (event.receipt, event.release)
            self.kept[event.update] = replace(before, evidence=at)
            return
        self.kept[event.update] = KeptReceipt(
            receipt=event.receipt,
            release=event.release,
            fate=event.fate,
            code=event.code,
            round=event.round,
            version=event.version,
            contradicts=event.contradicts,
            at_ms=at_ms,
        )
        _forget(self.kept, MOST_KEPT)


def _forget(remembered: dict[Digest, Any], most: int) -> None:
    while len(remembered) > most:
        del remembered[next(iter(remembered))]
