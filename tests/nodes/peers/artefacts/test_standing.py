"""Who gave wrong bytes is not asked for a while, also after a restart."""

from __future__ import annotations

from pathlib import Path

from nodes.machine.clock import ManualClock
from nodes.peers.artefacts.source import Fault
from nodes.peers.artefacts.standing import (
    FIRST_MS,
    FORGOTTEN_MS,
    LONGEST_MS,
    MAX_KNOWN,
    FaultBook,
    Standing,
)
from nodes.state.event_codec import events_of
from nodes.state.events import PeerFaulted
from protocol import digest_of
from tests.nodes.network import make_root, peer
from tests.nodes.peers.artefacts.sources import name_of

A, B = name_of("a"), name_of("b")


def test_the_pause_doubles_up_to_a_day_and_outlives_a_restart(tmp_path: Path) -> None:
    clock, file = ManualClock(), tmp_path / "standing.json"
    pauses = [Standing(file, clock).fault(A, "wrong-bytes") for _ in range(20)]
    assert pauses[:3] == [FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS]
    assert pauses[-1] == LONGEST_MS
    again = Standing(file, clock)
    assert (again.faults(A), again.faults(B)) == (20, 0)
    assert not again.may_ask(A)
    assert again.may_ask(B)
    clock.advance(LONGEST_MS)
    assert again.may_ask(A)


def test_a_clock_that_is_set_back_bans_nobody_for_longer(tmp_path: Path) -> None:
    clock = ManualClock()
    standing = Standing(tmp_path / "standing.json", clock)
    standing.fault(A, "wrong-bytes")
    clock.set_to(0)
    assert standing.paused_ms(A) == LONGEST_MS


def test_old_faults_and_too_many_are_forgotten(tmp_path: Path) -> None:
    clock = ManualClock()
    standing = Standing(tmp_path / "standing.json", clock)
    standing.fault(A, "wrong-bytes")
    clock.advance(FIRST_MS + FORGOTTEN_MS)
    standing.fault(B, "wrong-bytes")
    assert standing.faults(A) == 0
    standing._records = {name_of(f"{i}"): standing._records[B] for i in range(MAX_KNOWN + 5)}
    standing.fault(A, "wrong-bytes")
    assert len(standing._records) == MAX_KNOWN


def test_a_damaged_file_starts_anew(tmp_path: Path) -> None:
    for text in ("", "[1]", '{"x": 1}', f'{{"{A}": {{"faults": "no"}}}}', f'{{"{A}": 3}}'):
        (tmp_path / "standing.json").write_text(text)
        assert Standing(tmp_path / "standing.json", ManualClock()).may_ask(A)


def test_a_fault_stands_in_the_ledger(tmp_path: Path, base: Path) -> None:
    root = peer(make_root(tmp_path / "root", base))
    standing = Standing(tmp_path / "standing.json", root.node.clock)
    FaultBook(root.node, standing)(Fault.wrong_bytes(A, digest_of(b"x")))
    [event] = events_of(root.node.ledger, PeerFaulted)
    assert event == PeerFaulted(peer=A, code="wrong-bytes", artefact=digest_of(b"x"))
    assert not standing.may_ask(A)
    root.close()
