"""What a node answers when it is asked for its status, and when a child hands statuses in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nodes.machine.terminal import in_one_line
from nodes.machine.troubles import Troubles
from nodes.peers.statuses.book import RefusedStatus, StatusBook
from nodes.peers.statuses.own import LIFE_MS, OwnStatus
from nodes.peers.statuses.verify import UNKNOWN_PARENT
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.errors import PeerError
from protocol.peer_pb2 import (
    Refusal,
    ReportReply,
    ReportRequest,
    StatusReply,
    StatusRequest,
)

MOST_IN_A_REPORT = 2048
"""Statuses of one report."""
MOST_NAMED = 64
"""Refused statuses that one answer names; all are counted."""
_MOST_NONCE = 32

Fill = Callable[[Caller, ReportRequest], ReportReply]
"""Makes the answer to a report but for the statuses: the circle, addresses, peers, doors."""


def _nothing(_: Caller, __: ReportRequest) -> ReportReply:
    return ReportReply()


class StatusService:
    """The calls ``Status`` and ``Report`` of one node.

    Args:
        book: where children's statuses go; None at a device.
    """

    def __init__(
        self,
        own: OwnStatus,
        book: StatusBook | None,
        troubles: Troubles,
        fill: Fill = _nothing,
    ) -> None:
        self._own, self._book, self._troubles, self._fill = own, book, troubles, fill

    def status(self, _: Caller, request: StatusRequest) -> StatusReply:
        """Answer ``Status``: how this node is now, signed together with the asker's nonce.

        Raises ``PeerError`` ``malformed``.
        """
        if len(request.nonce) > _MOST_NONCE:
            raise PeerError("malformed", f"A nonce has at most {_MOST_NONCE} bytes.")
        return StatusReply(status=self._own.answer(request.nonce))

    def report(self, caller: Caller, request: ReportRequest) -> ReportReply:
        """Answer ``Report``: keep what verifies, say what was refused and what is new here.

        Raises ``PeerError`` ``not-offered`` at a device, ``too-large``, and as ``StatusBook.take``.
        """
        if self._book is None:
            raise PeerError("not-offered", "A device has no children.")
        if len(request.statuses) > MOST_IN_A_REPORT:
            raise PeerError("too-large", f"A report has at most {MOST_IN_A_REPORT} statuses.")
        refused = self._book.take(caller.member, request.statuses)
        self._tell(caller, refused)
        reply = self._fill(caller, request)
        reply.refused.extend(
            Refusal(
                node=bytes.fromhex(each.node), code=each.code, sentence=in_one_line(each.sentence)
            )
            for each in refused[:MOST_NAMED]
        )
        reply.again_ms = reply.again_ms or LIFE_MS
        return reply

    def _tell(self, caller: Caller, refused: Sequence[RefusedStatus]) -> None:
        """Let ``banyan node status`` say whose statuses are refused, until one report is in order.

        A parent that is not known yet comes with the next report.
        """
        key = f"status:{caller.member[:12]}"
        wrong = [each for each in refused if each.code != UNKNOWN_PARENT]
        if wrong:
            self._troubles.report(key, wrong[-1].code, wrong[-1].sentence)
        else:
            self._troubles.clear(key)
