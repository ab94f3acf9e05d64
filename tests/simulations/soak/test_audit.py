"""The audit of ledgers finds what is lost, doubled or damaged, and passes what is not."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest

from nodes.state.event_codec import write
from nodes.state.events import (
    LedgerEvent,
    NodeCreated,
    OfferCounted,
    Released,
    RoundClosed,
    RoundOpened,
    UpdateAccepted,
)
from nodes.state.ledger import Ledger
from nodes.state.records import ZERO, HeldRelease, Seated
from protocol import Digest, NodeId, ReleaseKind, Verdict, VerdictKind
from simulations.soak.audit import Audit, audit

CHILD = NodeId("c" * 64)


def digest(number: int) -> Digest:
    return Digest(f"{number:064x}")


def opened(number: int) -> RoundOpened:
    return RoundOpened(round=number, deadline_ms=1, members=1, quorum=1, tolerates=0)


def accepted(number: int, update: int) -> UpdateAccepted:
    seat = Seated(digest(update), digest(1000 + update), "int8", 4, 1.0, 1, cumulative=False)
    return UpdateAccepted(child=CHILD, round=number, late=False, staleness=0, length=1, seat=seat)


def released(number: int, *updates: int) -> Released:
    return Released(
        held=HeldRelease("/", number, digest(1), digest(2), digest(3)),
        kind=ReleaseKind.ROUND,
        moved=ZERO,
        round=number,
        step=1.0,
        accepted=(CHILD,),
        verdicts=tuple(
            Verdict(
                node=CHILD, update=digest(update), verdict=VerdictKind.ACCEPTED, code="", share=1.0
            )
            for update in updates
        ),
        losses=(),
        rehearsal=ZERO,
        undone=(),
    )


def audited(folder: Path, events: Sequence[LedgerEvent]) -> Audit:
    node = folder / "root"
    node.mkdir()
    ledger = Ledger.open(node / "ledger.sqlite", lambda: 1)
    ledger.append_all([write(e) for e in (NodeCreated(node=NodeId("a" * 64), scope="/"), *events)])
    ledger.close()
    return audit([node])


def test_rounds_that_end_in_a_release_or_without_one_lose_nothing(tmp_path: Path) -> None:
    found = audited(
        tmp_path,
        [opened(1), accepted(1, 1), released(1, 1), opened(2), accepted(2, 2),
         RoundClosed(round=2, outcome="refused-by-gate", updates=1), opened(3), accepted(3, 3)],
    )  # fmt: skip
    assert (found.accepted, found.counted) == (3, 1)
    assert not found.lost and not found.doubled and not found.broken


@pytest.mark.parametrize(
    "events",
    [
        [opened(1), accepted(1, 1), released(1)],
        [opened(1), accepted(1, 1), opened(2)],
    ],
)
def test_an_update_of_which_its_round_says_nothing_is_lost(
    tmp_path: Path, events: list[LedgerEvent]
) -> None:
    assert len(audited(tmp_path, events).lost) == 1


@pytest.mark.parametrize(
    "events",
    [
        [opened(1), accepted(1, 1), released(1, 1), opened(2), accepted(2, 2), released(2, 2, 1)],
        [opened(1), released(1, 7)],
        [OfferCounted(update=digest(1), version=1, delta=ZERO)] * 2,
    ],
)
def test_an_update_that_counts_more_than_once_is_found(
    tmp_path: Path, events: list[LedgerEvent]
) -> None:
    assert len(audited(tmp_path, events).doubled) == 1


def test_a_ledger_that_does_not_verify_is_found(tmp_path: Path) -> None:
    assert not audited(tmp_path, [opened(1)]).broken
    with sqlite3.connect(tmp_path / "root" / "ledger.sqlite") as damaged:
        damaged.execute("DROP TRIGGER events_stay")
        damaged.execute("UPDATE events SET at_ms = 7 WHERE seq = 1")
    assert len(audit([tmp_path / "root"]).broken) == 1
