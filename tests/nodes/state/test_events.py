"""Typed events: what is written is read again, and what is not understood is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nodes.errors import NodeError
from nodes.state.event_codec import read, write
from nodes.state.events import KINDS, LedgerEvent, RoundOpened
from nodes.state.ledger import Ledger, LedgerEntry, canonical
from nodes.state.node_state import NodeState
from protocol import Digest

EXAMPLES = json.loads((Path(__file__).parent / "golden" / "events.json").read_text("utf-8"))
OPENED = RoundOpened(round=1, deadline_ms=5, members=3, quorum=2, tolerates=0)


def entry(kind: str, body: Any) -> LedgerEntry:
    return LedgerEntry(7, 0, kind, canonical(body), None, Digest(""), Digest(""))


def test_there_is_an_example_of_every_kind() -> None:
    assert {kind for kind, _ in EXAMPLES} == KINDS.keys()


@pytest.mark.parametrize(("kind", "body"), EXAMPLES, ids=[kind for kind, _ in EXAMPLES])
def test_an_event_of_version_1_is_read_and_says_the_same_when_it_is_written(
    kind: str, body: dict[str, Any]
) -> None:
    event = read(entry(kind, body))
    assert type(event) is KINDS[kind]
    again, written = write(event)
    assert read(entry(again, written)) == event
    if event.VERSION == 1:
        assert (again, written) == (kind, body)


def test_an_unknown_kind_is_an_error_that_names_the_events_number() -> None:
    with pytest.raises(NodeError, match=r"Event 7 .*'moon-landed'") as refused:
        read(entry("moon-landed", {}))
    assert refused.value.code == "unknown-event"


WHOLE = write(OPENED)[1]
WRONG: dict[str, Any] = {
    "missing": {name: WHOLE[name] for name in WHOLE if name != "quorum"},
    "unknown": WHOLE | {"mood": "good"},
    "text": WHOLE | {"round": "1"},
    "fraction": WHOLE | {"round": 1.5},
    "no version": WHOLE | {"v": "x"},
    "list": [],
    "nothing": None,
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
def test_a_wrong_shape_is_an_error_that_names_the_events_number(body: Any) -> None:
    with pytest.raises(NodeError, match=r"Event 7 .*round-opened") as refused:
        read(entry("round-opened", body))
    assert refused.value.code == "bad-event"


def test_an_event_of_a_newer_version_says_so() -> None:
    with pytest.raises(NodeError, match="Event 7") as refused:
        read(entry("round-opened", WHOLE | {"v": RoundOpened.VERSION + 1}))
    assert refused.value.code == "newer-event"


def test_a_ledger_with_an_event_that_nobody_knows_does_not_open_in_silence(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "ledger.sqlite", lambda: 1) as ledger:
        ledger.append(*write(OPENED))
        ledger.append("moon-landed", {})
        with pytest.raises(NodeError, match="Event 2"):
            NodeState.from_ledger(ledger)


def test_a_state_says_of_every_event_what_it_changes() -> None:
    class Forgotten(LedgerEvent):
        """An event for which the state has no line."""

    with pytest.raises(TypeError, match="Forgotten"):
        NodeState().apply(Forgotten(), 0)
