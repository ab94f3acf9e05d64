"""Checkpoints: a state read back is the state that was folded, and whatever does not match is not
used."""

from __future__ import annotations

import json
import tarfile
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.machine.clock import ManualClock
from nodes.state import checkpoint
from nodes.state.event_codec import read, write
from nodes.state.home import open_home
from nodes.state.interfaces import on_disk
from nodes.state.ledger import Head, Ledger
from nodes.state.ledger_files import CHECKPOINT_FILE
from nodes.state.node import Node
from nodes.state.node_state import NodeState
from protocol import digest_of
from tests.nodes.state.histories import history

GOLDEN = Path(__file__).parent / "golden"
HEAD = Head(7, digest_of(b"head"))


def again(state: NodeState) -> NodeState:
    """The state as a checkpoint gives it back."""
    decoded = checkpoint.decode(checkpoint.encode(state, HEAD))
    assert decoded is not None and decoded[1] == HEAD
    return decoded[0]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), length=st.integers(1, 300), cut=st.integers(1, 300))
def test_a_state_from_a_checkpoint_is_the_state_of_a_whole_fold(
    seed: int, length: int, cut: int
) -> None:
    folded: NodeState | None = None
    events = []
    for at, (state, event) in enumerate(islice(history(seed), length), start=1):
        events.append(event)
        state.apply(event, at)
        if at == cut:
            folded = again(state)
        elif folded is not None:
            folded.apply(event, at)
    whole = NodeState()
    for at, event in enumerate(events, start=1):
        whole.apply(event, at)
    assert whole == state
    assert again(whole) == whole
    assert folded is None or folded == whole


def test_what_a_checkpoint_was_folded_from_is_pinned() -> None:
    """Where this fails, an event changes the state in another way, or the state has another shape:
    raise ``checkpoint.FORMAT``, and then write the new sums here."""
    sums = []
    for seed in range(3):
        for at, (told, event) in enumerate(islice(history(seed), 400), start=1):
            told.apply(event, at)
        state = told
        sums.append(digest_of(checkpoint.encode(state, HEAD).partition(b"\n")[2])[:16])
    assert (checkpoint.FORMAT, sums) == (
        3,
        ["00f70aad84d46525", "a45ceecf64dbe843", "37fb77d7837c3a7a"],
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(GOLDEN / "nodes.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "en"


FACTS = json.loads((GOLDEN / "facts.json").read_text("utf-8"))
CLOCK = ManualClock(FACTS["at_ms"])


def opened(folder: Path) -> Node:
    home = open_home(folder, CLOCK.now_ms())
    return Node(home, CLOCK, replace(on_disk(home, CLOCK), checkpoint_every=20))


def folds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, Node]:
    """Open a node; also how many events it had to fold for that."""
    count = 0
    apply = NodeState.apply

    def counted(self: NodeState, *args: object) -> None:
        nonlocal count
        count += 1
        apply(self, *args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(NodeState, "apply", counted)
        node = opened(folder)
    return count, node


def test_a_start_folds_what_came_after_the_checkpoint(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, node = folds(folder, monkeypatch)
    state = node.state
    node.close()
    second, node = folds(folder, monkeypatch)
    assert first > 20 and second < 20
    assert node.state == state
    node.close()


@pytest.mark.parametrize("wrong", ["byte", "format", "head", "ahead", "empty", "pickle"])
def test_a_checkpoint_that_does_not_match_is_passed_over(
    wrong: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, node = folds(folder, monkeypatch)
    state = node.state
    node.close()
    file = folder / CHECKPOINT_FILE
    line, _, body = file.read_bytes().partition(b"\n")
    head = json.loads(line)
    match wrong:
        case "byte":
            body = body.replace(b'"moves":', b'"moves":1', 1)
        case "format":
            head["format"] += 1
        case "head":
            head["digest"] = digest_of(b"of another ledger")
        case "ahead":
            head["seq"] += 1000
        case "empty":
            body = b""
        case "pickle":
            body = b"\x80\x04N."
    file.write_bytes(json.dumps(head).encode() + b"\n" + body)
    again, node = folds(folder, monkeypatch)
    assert again == first
    assert node.state == state
    node.close()


@pytest.mark.slow
def test_a_start_at_100_000_events_folds_few_of_them(tmp_path: Path) -> None:
    """The state from a checkpoint and the rest is that of the whole fold."""
    many, cut = 100_000, 98_500
    with Ledger.open(tmp_path / "ledger.sqlite", lambda: 1) as ledger:
        told = history(1)
        state, batch = NodeState(), []
        for state, event in islice(told, many):
            batch.append(write(event))
            state.apply(event, 1)
            if len(batch) == 500:
                head = ledger.append_all(batch)[-1]
                batch = []
                if head.seq == cut:
                    data = checkpoint.encode(state, Head(head.seq, head.digest))
        decoded = checkpoint.decode(data)
        assert decoded is not None
        restored, position = decoded
        count = 0
        for entry in ledger.events(after=position.seq):
            restored.apply(read(entry), entry.at_ms)
            count += 1
        assert count == many - cut
        assert restored == state
        assert NodeState.from_ledger(ledger) == state
        assert ledger.verify() == many


@pytest.mark.slow
def test_the_lists_of_a_state_do_not_grow_for_ever() -> None:
    state = NodeState()
    for at, (told, event) in enumerate(islice(history(2), 60_000), start=1):
        told.apply(event, at)
        state = told
    assert state.above.forgotten and len(state.above.installs) <= 512
    assert state.offers.forgotten and len(state.offers.counted) <= 512
    assert len(state.offers.contributions) <= 4096
    assert all(len(states) <= 32 for states in state.gate.best_held.values())
