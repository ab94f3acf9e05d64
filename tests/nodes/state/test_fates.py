"""What a parent remembers of its children's updates, from the events of its ledger."""

from __future__ import annotations

import pytest

from nodes.state import fates
from nodes.state.events import (
    LedgerEvent,
    MemberRevoked,
    Released,
    RoundClosed,
    RoundOpened,
    UpdateAccepted,
    UpdateRefused,
)
from nodes.state.node_state import NodeState
from nodes.state.records import ZERO, HeldRelease, Seated
from protocol import Digest, Fate, NodeId, ReleaseKind, Verdict, VerdictKind, digest_of

CHILD, OTHER = (NodeId(digest_of(name)) for name in (b"child", b"other"))


def name(text: str) -> Digest:
    return digest_of(text.encode())


OPENED = RoundOpened(round=1, deadline_ms=1, members=2, quorum=1, tolerates=0)


def seated(update: str, child: NodeId = CHILD, round: int = 1) -> UpdateAccepted:
    seat = Seated(name(update), name("payload"), "int8", 4, 1.0, 1, True)
    return UpdateAccepted(child=child, round=round, late=False, staleness=0, length=4, seat=seat)


def refused(update: Digest, code: str) -> UpdateRefused:
    return UpdateRefused(
        child=CHILD, code=code, sentence="No.", round=1, update=update, claimed=True
    )


def verdict(update: str, kind: VerdictKind, code: str = "", share: float = 0.0) -> Verdict:
    return Verdict(node=CHILD, update=name(update), verdict=kind, code=code, share=share)


def released(version: int, *verdicts: Verdict, kind: ReleaseKind = ReleaseKind.ROUND) -> Released:
    accepted = tuple(v.node for v in verdicts if v.verdict is VerdictKind.ACCEPTED)
    return Released(
        held=HeldRelease("/", version, name(f"r{version}"), name("e"), name("a")), kind=kind,
        moved=ZERO, round=1, step=1.0, accepted=accepted, verdicts=verdicts, losses=(),
        rehearsal=ZERO, undone=(),
    )  # fmt: skip


def folded(*events: LedgerEvent) -> NodeState:
    state = NodeState()
    for at, event in enumerate(events, start=1):
        state.apply(event, at)
    return state


def fate_after(*events: LedgerEvent) -> tuple[Fate, str, int] | None:
    known = folded(*events).fates.known.get(name("u"))
    return (known.fate, known.code, known.version) if known else None


ACCEPTED = verdict("u", VerdictKind.ACCEPTED, share=0.5)
WITHDRAWAL = released(
    3, verdict("u", VerdictKind.REFUSED, "withdrawn"), kind=ReleaseKind.WITHDRAWAL
)
CASES: dict[str, tuple[tuple[LedgerEvent, ...], tuple[Fate, str, int]]] = {
    "waiting": ((), (Fate.WAITING, "", 0)),
    "counted": ((released(2, ACCEPTED),), (Fate.COUNTED, "", 2)),
    "outvoted": (
        (released(2, verdict("u", VerdictKind.OUTVOTED, "outvoted")),),
        (Fate.OUTVOTED, "outvoted", 2),
    ),
    "not chosen": (
        (released(2, verdict("u", VerdictKind.OUTVOTED, "not-chosen")),),
        (Fate.OUTVOTED, "not-chosen", 2),
    ),
    "quarantined": (
        (released(2, verdict("u", VerdictKind.REFUSED, "quarantined")),),
        (Fate.REFUSED, "quarantined", 2),
    ),
    "void": ((RoundClosed(round=1, outcome="void"),), (Fate.LEFT_OUT, "void", 0)),
    "refused by the gate": (
        (RoundClosed(round=1, outcome="refused-by-gate"),),
        (Fate.LEFT_OUT, "refused-by-gate", 0),
    ),
    "failed": (
        (RoundClosed(round=1, outcome="failed", code="computing-failed"),),
        (Fate.LEFT_OUT, "computing-failed", 0),
    ),
    "superseded": ((refused(name("u"), "superseded"),), (Fate.LEFT_OUT, "superseded", 0)),
    "superseded, and named": (
        (
            refused(name("u"), "superseded"),
            released(2, verdict("u", VerdictKind.REFUSED, "superseded")),
        ),
        (Fate.LEFT_OUT, "superseded", 2),
    ),
    "revoked": ((MemberRevoked(child=CHILD),), (Fate.LEFT_OUT, "revoked", 0)),
    "withdrawn": ((released(2, ACCEPTED), WITHDRAWAL), (Fate.WITHDRAWN, "withdrawn", 3)),
    "stood in for": (
        (released(2, ACCEPTED), released(3, verdict("u", VerdictKind.STAND_IN))),
        (Fate.COUNTED, "", 2),
    ),
    "sent again": (
        (released(2, ACCEPTED), refused(name("u"), "not-finite")),
        (Fate.COUNTED, "", 2),
    ),
    "sent again while it waits": ((refused(name("u"), "stale"),), (Fate.WAITING, "", 0)),
}  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES)
def test_the_fate_of_an_admitted_update(
    events: tuple[LedgerEvent, ...], expected: tuple[Fate, str, int]
) -> None:
    assert fate_after(OPENED, seated("u"), *events) == expected


def test_an_update_that_was_refused_at_admission_is_known_by_its_digest() -> None:
    assert fate_after(OPENED, refused(name("u"), "stale")) == (Fate.REFUSED, "stale", 0)
    assert fate_after(OPENED, refused(ZERO, "stale")) is None
    later = fate_after(OPENED, refused(name("u"), "clock-skew"), seated("u"))
    assert later == (Fate.WAITING, "", 0)


def test_a_closed_round_leaves_others_as_they_were() -> None:
    state = folded(
        OPENED,
        seated("u"),
        released(2, ACCEPTED),
        RoundOpened(round=2, deadline_ms=1, members=2, quorum=1, tolerates=0),
        seated("v", OTHER, 2),
        RoundClosed(round=2, outcome="void"),
    )
    assert state.fates.known[name("u")].fate is Fate.COUNTED
    assert state.fates.known[name("v")].fate is Fate.LEFT_OUT
    assert state.fates.known[name("v")].child == OTHER


def test_only_the_last_ones_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fates, "REMEMBERED", 3)
    state = folded(OPENED, *(refused(name(f"{n}"), "stale") for n in range(9)))
    assert list(state.fates.known) == [name("6"), name("7"), name("8")]
