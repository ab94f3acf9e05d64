"""One error does not end a node: it voids the round, costs the child, or waits to pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nodes.child.child import Child
from nodes.machine.clock import ManualClock
from nodes.machine.troubles import Troubles
from nodes.parent.combine import Collected
from nodes.parent.parent import Parent
from nodes.parent.settlement import Settlement
from nodes.state.event_codec import events_of
from nodes.state.events import Abstained, Released, RoundClosed, UpdateRefused
from nodes.text.files import write_texts
from protocol import Admission, ReleaseKind, Verdict
from tests.nodes.toy import Member, Tree, Vector, tree


@contextmanager
def pair(folder: Path, base: Path) -> Iterator[tuple[Tree, Member, Member]]:
    with tree(folder, base) as made:
        target = np.ones(made.root().node.size, np.float32)
        root = made.reopen(made.opened[0])
        root.toy.target = target
        root.parent = Parent(root.node, root.config, root.toy)
        device = made.child(root, "device", "/", target)
        yield made, root, device


class Failing:
    """A combiner that fails as often as it was told to, and then like the real one works."""

    def __init__(self, errors: list[Exception], real: Any) -> None:
        self.errors, self.real = errors, real

    def combine(self, collected: Collected) -> tuple[Vector, list[Verdict]]:
        if self.errors:
            raise self.errors.pop(0)
        result: tuple[Vector, list[Verdict]] = self.real.combine(collected)
        return result


def failing(root: Member, error: Exception) -> None:
    settlement = Settlement(root.node, root.config, root.toy)
    settlement._combiner = Failing([error], settlement._combiner)
    root.parent = Parent(root.node, root.config, root.toy, settlement)


def released(root: Member) -> int:
    events = events_of(root.node.ledger, Released)
    return sum(isinstance(e, Released) and e.kind is ReleaseKind.ROUND for e in events)


@pytest.mark.slow
def test_an_error_in_computing_voids_its_round_and_the_next_one_counts(
    tmp_path: Path, base: Path
) -> None:
    with pair(tmp_path, base) as (_, root, device):
        failing(root, IndexError("index 480 is out of range"))
        root.rounds()
        closed = [e for e in events_of(root.node.ledger, RoundClosed) if isinstance(e, RoundClosed)]
        assert [(e.outcome, e.code) for e in closed] == [("failed", "computing-failed")]
        assert "index 480" in str(closed[0].sentence)
        write_texts(device.node.home.folder / "train.jsonl", ["A text that is new."])
        root.rounds()
        assert released(root) == 1


@pytest.mark.slow
def test_an_error_of_the_machine_leaves_the_round_open_and_it_counts_later(
    tmp_path: Path, base: Path
) -> None:
    with pair(tmp_path, base) as (made, root, _):
        failing(root, OSError(24, "Too many open files"))
        with pytest.raises(OSError, match="Too many"):
            root.rounds()
        assert root.node.state.rounds.open is not None
        assert not list(events_of(root.node.ledger, RoundClosed))
        made.restart(root)  # as the daemon does: a new parent on the same ledger
        assert root.parent is not None
        root.parent.step()
        assert released(root) == 1


@pytest.mark.slow
def test_an_answer_that_makes_a_library_fail_is_refused(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    with pair(tmp_path, base) as (_, root, device):
        assert root.parent is not None
        root.advance(2000)
        (request,) = root.parent.step()
        kind, blobs = device.child().answer(request.blobs)
        with monkeypatch.context() as patch:
            patch.setattr(Admission, "admit", fail)
            root.parent.receive(device.node.home.id, request.task, kind, blobs)
        (refused,) = events_of(root.node.ledger, UpdateRefused)
        assert isinstance(refused, UpdateRefused)
        assert (refused.code, refused.claimed) == ("malformed", False)
        root.parent.receive(device.node.home.id, request.task, kind, blobs)
        assert released(root) == 1


@pytest.mark.slow
def test_a_device_that_cannot_train_says_so_to_its_parent_and_in_its_troubles(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pair(tmp_path, base) as (_, root, device):

        def fail(*_: object, **__: object) -> Mapping[str, object]:
            raise RuntimeError("not enough memory: you tried to allocate 9 GB")

        troubles = Troubles(tmp_path / "troubles.json", ManualClock())
        child = Child(device.node, device.config, device.toy, troubles=troubles)
        assert root.parent is not None
        root.advance(2000)
        (request,) = root.parent.step()
        with monkeypatch.context() as patch:
            patch.setattr(device.toy, "train", fail)
            kind, blobs = child.answer(request.blobs)
        root.parent.receive(device.node.home.id, request.task, kind, blobs)
        (abstained,) = events_of(root.node.ledger, Abstained)
        assert isinstance(abstained, Abstained)
        assert abstained.reason == "computing-failed"
        (trouble,) = troubles.standing
        assert "9 GB" in trouble.sentence
        root.rounds()
        assert released(root) == 1
