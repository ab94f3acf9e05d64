"""Answer a child's question of what became of its update."""

from __future__ import annotations

from typing import Protocol

from nodes.errors import NodeError
from nodes.parent.receipt_desk import ReceiptDesk
from protocol import Digest, NodeId
from protocol.peer_pb2 import ReceiptReply, ReceiptRequest


class Asker(Protocol):
    """The interface of who asks: ``nodes.peers.wire.caller.Caller``."""

    @property
    def member(self) -> NodeId:
        """The node's id."""
        ...


class ReceiptService:
    """The receipts that a parent gives over the peer service."""

    def __init__(self, desk: ReceiptDesk) -> None:
        self._desk = desk

    def receipt(self, caller: Asker, request: ReceiptRequest) -> ReceiptReply:
        """Answer ``Receipt``. Raises ``NodeError`` ``malformed``, and what the desk raises."""
        if len(request.update) != 32:
            raise NodeError("malformed", "An update is named by a digest of 32 bytes.")
        update = Digest(request.update.hex())
        receipt, release = self._desk.receipt(caller.member, update)
        return ReceiptReply(receipt=receipt.encode(), release=release or b"")
