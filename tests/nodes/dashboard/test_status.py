"""Claims about a node's status: which children abstain, why, and since when."""

from __future__ import annotations

import json

from nodes.dashboard.status import Abstention, Status
from nodes.state.events import (
    Abstained,
    LedgerEvent,
    MemberResumed,
    MemberRevoked,
    MemberSuspended,
    UpdateAccepted,
)
from nodes.state.records import Seated
from protocol import NodeId

ONE, TWO = NodeId("1" * 64), NodeId("2" * 64)


def abstained(child: NodeId, reason: str) -> Abstained:
    return Abstained(child=child, round=1, reason=reason)


def accepted(child: NodeId) -> UpdateAccepted:
    seat = object.__new__(Seated)  # of no concern to the status
    return UpdateAccepted(child=child, round=1, late=False, staleness=0, length=1, seat=seat)


def status_after(*events: LedgerEvent) -> Status:
    """The status after events that happened at 1 ms, 2 ms, …"""
    status = Status()
    for at_ms, event in enumerate(events, 1):
        status.take(event, at_ms)
    return status


def test_an_abstention_stands_until_there_is_another_reason() -> None:
    status = status_after(
        abstained(ONE, "no-text"),
        abstained(TWO, "no-data"),
        abstained(ONE, "bad-text"),
        abstained(ONE, "bad-text"),
    )
    assert status.abstaining == {
        ONE: Abstention("bad-text", since_ms=3),
        TWO: Abstention("no-data", since_ms=2),
    }
    assert json.loads(json.dumps(status.to_json()))["abstaining"][ONE]["since_ms"] == 3


def test_an_accepted_update_and_a_revocation_end_them() -> None:
    status = status_after(
        abstained(ONE, "no-text"),
        abstained(TWO, "no-text"),
        accepted(ONE),
        MemberRevoked(child=TWO),
    )
    assert status.abstaining == {}


def test_who_is_suspended_is_neither_abstaining_nor_revoked() -> None:
    events: list[LedgerEvent] = [abstained(ONE, "no-text"), MemberSuspended(child=ONE)]
    status = status_after(*events)
    assert (status.suspended, status.revoked, status.abstaining) == ([ONE], [], {})
    assert json.loads(json.dumps(status.to_json()))["suspended"] == [ONE]
    assert status_after(*events, MemberResumed(child=ONE)).suspended == []
    status = status_after(*events, MemberRevoked(child=ONE))
    assert (status.suspended, status.revoked) == ([], [ONE])
