"""The storage of simulated nodes keeps the rules of the one on disk."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nodes.state.artefacts import ArtefactError
from nodes.state.ledger import Claim, LedgerError
from protocol import NodeId, digest_of
from simulations.world.storage import AppendFile, FileArtefacts, FileLedger

CLAIM = Claim(NodeId("a" * 64), 3, "3-1-aaaa", "accepted")


def ledger(file: AppendFile | None = None) -> FileLedger:
    return FileLedger(file or AppendFile(), lambda: 7)


def test_events_are_numbered_and_chained() -> None:
    made = ledger()
    made.append_all([("first", {"a": 1}), ("second", {"b": [2, None]})])
    made.append_all([("third", {})])
    found = list(made.events())
    assert [(e.seq, e.kind, e.body) for e in found] == [
        (1, "first", {"a": 1}),
        (2, "second", {"b": [2, None]}),
        (3, "third", {}),
    ]
    assert [e.previous for e in found[1:]] == [e.digest for e in found[:-1]]
    assert made.verify() == 3
    assert [e.kind for e in made.events(["third", "first"], after=1)] == ["third"]


def test_a_task_is_claimed_once() -> None:
    made = ledger()
    made.append_all([("accepted", {})], CLAIM)
    with pytest.raises(LedgerError, match="already answered"):
        made.append_all([("accepted", {})], CLAIM)
    assert made.taken(CLAIM.node, CLAIM.round, CLAIM.task)
    assert made.verify() == 1


def test_nothing_is_appended_when_a_body_cannot_be_kept() -> None:
    made = ledger()
    with pytest.raises(LedgerError, match="bad-body"):
        made.append_all([("good", {}), ("bad", {"x": float("nan")})])
    assert list(made.events()) == []


def test_who_knows_less_than_the_ledger_is_told_so() -> None:
    made = ledger()
    made.append_all([("one", {})])
    with pytest.raises(LedgerError, match="moved-on"):
        made.append_all([("two", {})], after=0)


def test_a_changed_event_is_found(tmp_path: Path) -> None:
    path = tmp_path / "file"
    made = ledger(AppendFile(path))
    made.append_all([("first", {"a": 1})])
    made.append_all([("second", {})])
    data = path.read_bytes()
    path.write_bytes(data.replace(b'\\"a\\":1', b'\\"a\\":2'))
    with pytest.raises(LedgerError, match="broken-ledger"):
        made.verify()


def test_equal_artefacts_lie_once() -> None:
    file = AppendFile()
    one, other = FileArtefacts(file), b"something"
    digest = one.put(other)
    place = file.put(b"")
    assert one.put(other) == digest == digest_of(other)
    assert file.put(b"") == place
    assert (one.get(digest), one.size(digest), one.has(digest)) == (other, len(other), True)
    one.delete(digest)
    with pytest.raises(ArtefactError, match="missing-artefact"):
        one.get(digest)


def test_a_named_file_goes_on_where_another_process_stopped(tmp_path: Path) -> None:
    made = FileArtefacts(AppendFile(tmp_path / "file"))
    digest = made.put(b"before")
    again: FileArtefacts = pickle.loads(pickle.dumps(made))  # noqa: S301
    later = again.put(b"after")
    assert (again.get(digest), again.get(later)) == (b"before", b"after")
