"""A child's reports to its parent: its own status, and the newest ones from below it, verbatim.

It reports at once when its own status changes, soon after something came from below, and at least
every half minute. What the parent took is not sent again; after a failure the rest goes on after a
growing pause.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence

import structlog

from nodes.machine.clock import Clock
from nodes.machine.retry import report as report_trouble
from nodes.machine.troubles import Troubles
from nodes.peers.statuses.book import StatusBook
from nodes.peers.statuses.own import LIFE_MS, OwnStatus
from nodes.peers.statuses.rows import Row
from nodes.peers.statuses.service import MOST_IN_A_REPORT
from nodes.peers.statuses.verify import UNKNOWN_PARENT
from nodes.peers.wire.errors import NO_ADDRESS
from protocol import NodeId
from protocol.peer_pb2 import ReportReply, ReportRequest, Signed

log = structlog.get_logger()

REPORT_EVERY_S = LIFE_MS / 1000
LOOK_EVERY_S = 1.0
"""Seconds between looks whether the node's own status changed."""
GATHER_S = 2.0
"""Seconds for which what comes from below is gathered into one report."""
BATCH_BYTES = 512 * 1024
"""Bytes of one report's statuses; a single one may be larger."""
LONGEST_PAUSE_S = 60.0
ALL_AGAIN_S = 600.0
"""The least seconds between handing everything in anew, for a parent that lost what it had."""
FORGET_EVERY_S = 3600.0

Report = Callable[[ReportRequest], ReportReply]


class Reporter:
    """Keeps a node's own status current, and its parent informed.

    Args:
        report: asks the parent; None at a root.
        about: makes a request but for its statuses: this node's addresses and the like.
        on_reply: told of every answer.
    """

    def __init__(
        self,
        node_id: NodeId,
        own: OwnStatus,
        book: StatusBook,
        report: Report | None,
        clock: Clock,
        troubles: Troubles,
        *,
        about: Callable[[], ReportRequest] = ReportRequest,
        on_reply: Callable[[ReportReply], None] = lambda _: None,
    ) -> None:
        self._id, self._own, self._book, self._report = node_id, own, book, report
        self._clock, self._troubles = clock, troubles
        self._about, self._on_reply = about, on_reply
        self._since = 0
        self._taken: dict[tuple[NodeId, NodeId], int] = {}
        """What the parent took of an unfinished pass over what is new: the number of each row."""
        self._sent: Signed | None = None
        self._due, self._last, self._blocked = -math.inf, -math.inf, -math.inf
        self._pause_s = LOOK_EVERY_S
        self._all_again, self._forgotten = -math.inf, -math.inf

    def run(self, stop: threading.Event) -> None:
        """Report until ``stop`` is set."""
        while not stop.is_set():
            self.step()
            stop.wait(LOOK_EVERY_S)

    def hurry(self) -> None:
        """Report at the next look: what a report says beside statuses changed. Thread-safe."""
        self._due = -math.inf

    def step(self) -> None:
        """Look once whether there is something to report, and report it. Never raises for what the
        parent, the link or the disk does: that stands in the troubles."""
        try:
            own = self._own.current()
            self._forget_old()
        except Exception as error:
            report_trouble(error, self._troubles, "own-status")
            return
        self._troubles.clear("own-status")
        now = self._clock.monotonic()
        if self._report is None or now < self._blocked or not self._is_due(own, now):
            return
        try:
            self._send(own, self._report)
        except Exception as error:
            self._fail(error)
        else:
            self._troubles.clear("report")
            self._pause_s = LOOK_EVERY_S

    def _is_due(self, own: Signed, now: float) -> bool:
        news = self._book.seq > self._since and now - self._last >= GATHER_S
        return own is not self._sent or news or now >= self._due

    def _fail(self, error: Exception) -> None:
        """Wait longer each time; for as long as the parent said, if it said so."""
        if getattr(error, "code", "") == NO_ADDRESS:  # it comes with the renewal
            log.debug("not-reported", why=str(error))
        else:
            report_trouble(error, self._troubles, "report")
        hint_s = min((getattr(error, "retry_ms", None) or 0) / 1000, LONGEST_PAUSE_S)
        self._blocked = self._clock.monotonic() + max(self._pause_s, hint_s)
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)

    def _send(self, own: Signed, report: Report) -> None:
        """Hand in the node's own status and all that is new from below it, in some reports."""
        upto, unknown_parent, wait_ms = self._book.seq, False, 0
        new = [row for row in self._book.newest(self._since) if not self._is_taken(row)]
        for place, rows in enumerate(_batches(new, first=own.ByteSize())):
            request = ReportRequest()
            request.CopyFrom(self._about())
            request.statuses.extend(([own] if place == 0 else []) + self._book.signed(rows))
            reply = report(request)
            self._taken.update({(row.via, row.node): row.seq for row in rows})
            self._sent = own
            wait_ms = reply.again_ms
            unknown_parent |= self._look_at(reply)
            self._on_reply(reply)
        self._since = upto
        self._taken.clear()
        now = self._clock.monotonic()
        self._last = now
        self._due = now + min(max(wait_ms / 1000 or REPORT_EVERY_S, LOOK_EVERY_S), REPORT_EVERY_S)
        if unknown_parent and now - self._all_again >= ALL_AGAIN_S:
            self._all_again, self._since = now, 0

    def _is_taken(self, row: Row) -> bool:
        return self._taken.get((row.via, row.node)) == row.seq

    def _look_at(self, reply: ReportReply) -> bool:
        """Note what the parent did not take; return whether it lacks what it had before."""
        own_id, own_refused = bytes.fromhex(self._id), False
        for refusal in reply.refused:
            if refusal.node == own_id:
                own_refused = True
                self._troubles.report("status", refusal.code, refusal.sentence)
            log.info("report-refused", code=refusal.code, why=refusal.sentence)
        if not own_refused:
            self._troubles.clear("status")
        return any(refusal.code == UNKNOWN_PARENT for refusal in reply.refused)

    def _forget_old(self) -> None:
        now = self._clock.monotonic()
        if now - self._forgotten >= FORGET_EVERY_S:
            self._forgotten = now
            self._book.forget_old()


def _batches(rows: Sequence[Row], first: int) -> Iterator[list[Row]]:
    """Divide rows into those of one report each; the first has ``first`` bytes already. There is
    at least one, perhaps empty."""
    batch: list[Row] = []
    size = first
    for row in rows:
        if (batch or size) and (
            size + row.size > BATCH_BYTES or len(batch) + 1 >= MOST_IN_A_REPORT
        ):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += row.size
    yield batch
