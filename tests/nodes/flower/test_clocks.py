"""A link outlives what people do to clocks, and what was signed once is still used once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from nodes.flower.guard import Timestamps
from nodes.flower.https import Signer
from nodes.flower.messages import unpack
from nodes.flower.parent_clock import DoorClock, ParentClock
from nodes.flower.traffic import Meter
from nodes.flower.uplink import Uplink, empty_context
from nodes.machine.clock import ManualClock, SystemClock
from nodes.machine.troubles import Troubles, read_troubles
from tests.nodes.flower.links import WAIT_S, Parent, echo_app, key_pair, parent, wait_for
from tests.nodes.flower.test_door import PROTOBUF, PULL, knock

HOUR_MS = 3_600_000


class WrongClock(SystemClock):
    """The machine's clock as somebody set it; its monotonic clock goes on."""

    def __init__(self, off_ms: int = 0) -> None:
        self.off_ms = off_ms

    def now_ms(self) -> int:
        return super().now_ms() + self.off_ms


@contextmanager
def connected(p: Parent, key: bytes, clock: WrongClock, file: Path) -> Iterator[Uplink]:
    """A child with this clock."""
    troubles = Troubles(file, SystemClock())
    uplink = Uplink([p.downlink.address], p.ca, key, 0.02, troubles=troubles, clock=clock)
    stop = threading.Event()
    thread = threading.Thread(target=uplink.run, args=(echo_app(), empty_context(), stop))
    thread.start()
    try:
        wait_for(lambda: uplink.connected)
        yield uplink
    finally:
        stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def answers(p: Parent, flower_id: int) -> bool:
    return unpack(p.reply(p.send(flower_id, {"n": b"1"})).content) == ("echo", {"n": b"1"})


@pytest.mark.parametrize("off_ms", [-HOUR_MS - 60_000, HOUR_MS, 20 * 365 * 24 * HOUR_MS])
def test_a_child_whose_clock_is_wrong_is_admitted_and_says_so(tmp_path: Path, off_ms: int) -> None:
    key, public = key_pair()
    file = tmp_path / "troubles.json"
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with connected(p, key, WrongClock(off_ms), file):
            assert answers(p, flower_id)
            (trouble,) = read_troubles(file)
    assert (trouble.key, trouble.code) == ("clock", "clock-differs")
    way = "61 minutes behind" if off_ms < 0 else "minutes ahead of"
    assert way in trouble.sentence
    assert p.refused_codes == ["clock-differs"], "once, and then it knows the door's time"


def test_a_childs_clock_may_be_set_while_it_runs(tmp_path: Path) -> None:
    key, public = key_pair()
    clock, file = WrongClock(HOUR_MS), tmp_path / "troubles.json"
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with connected(p, key, clock, file) as uplink:
            for off_ms in (0, -HOUR_MS, 0):
                before = len(p.refused)
                clock.off_ms = off_ms
                assert answers(p, flower_id)
                assert len(p.refused) == before
                assert uplink.connected


@pytest.mark.slow
def test_the_trouble_ends_with_its_reason(tmp_path: Path) -> None:
    key, public = key_pair()
    clock, file = WrongClock(HOUR_MS), tmp_path / "troubles.json"
    with parent(tmp_path) as p:
        p.downlink.admit_child(public)
        with connected(p, key, clock, file):
            wait_for(lambda: bool(read_troubles(file)))
            clock.off_ms = 0
            wait_for(lambda: not read_troubles(file))


def test_the_parents_clock_may_be_set_while_it_runs(tmp_path: Path) -> None:
    key, public = key_pair()
    clock = WrongClock(HOUR_MS)
    with parent(tmp_path, clock=clock) as p:
        flower_id = p.downlink.admit_child(public)
        with connected(p, key, WrongClock(), tmp_path / "troubles.json"):
            for off_ms in (0, -HOUR_MS, HOUR_MS):
                clock.off_ms = off_ms
                assert answers(p, flower_id)


def test_an_answer_of_a_child_whose_clock_is_wrong_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowers = sys.modules["flwr.app.message.message"]  # dates answers
    now = vars(flowers)["now"]
    monkeypatch.setattr(flowers, "now", lambda: now() + timedelta(hours=2))
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with connected(p, key, WrongClock(2 * HOUR_MS), tmp_path / "troubles.json"):
            assert answers(p, flower_id)


# -- what was signed once is used once -----------------------------------------------------------


@pytest.mark.parametrize("off_ms", [-HOUR_MS, HOUR_MS])
def test_a_used_request_is_refused_whatever_is_done_to_the_parents_clock(
    tmp_path: Path, off_ms: int
) -> None:
    key, public = key_pair()
    clock = WrongClock()
    with parent(tmp_path, clock=clock) as p:
        p.downlink.admit_child(public)
        captured = Signer(key, Meter()).headers() | PROTOBUF
        knock(p, PULL, captured)
        clock.off_ms = off_ms
        assert knock(p, PULL, captured) == 401
        assert p.refused_codes[-1] == "replayed-request"


def test_a_request_from_before_a_restart_is_refused(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as first:
        first.downlink.admit_child(public)
        captured = Signer(key, Meter()).headers() | PROTOBUF
        knock(first, PULL, captured)
    with parent(tmp_path) as second:
        second.downlink.admit_child(public)
        assert knock(second, PULL, captured) == 401
        assert second.refused_codes[-1] == "replayed-request"


def test_a_time_from_far_ahead_is_refused_and_not_remembered(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        ahead = Signer(key, Meter(), ParentClock(WrongClock(HOUR_MS)))
        for _ in range(3):
            assert knock(p, PULL, ahead.headers() | PROTOBUF) == 401
            assert p.refused_codes[-1] == "clock-differs"
        with connected(p, key, WrongClock(), tmp_path / "troubles.json"):
            assert answers(p, flower_id)


def test_every_moment_up_to_the_floor_counts_as_used() -> None:
    clock = ManualClock()
    door = DoorClock(clock)
    used = Timestamps(4, door.start)
    assert not used.use(door.start)
    clock.advance(1)
    assert used.use(door.now())


# -- the two clocks by themselves ----------------------------------------------------------------


def test_a_doors_time_never_goes_back() -> None:
    clock = ManualClock()
    door = DoorClock(clock)
    clock.advance(1000)
    before = door.now()
    clock.set_to(clock.now_ms() - HOUR_MS)
    assert door.now() == before
    clock.advance(1000)
    assert door.now() - before == timedelta(seconds=1)


def test_a_child_takes_the_doors_time_and_keeps_it() -> None:
    parents, own = ManualClock(), ManualClock()
    own.set_to(own.now_ms() + HOUR_MS)
    door, child = DoorClock(parents), ParentClock(own)
    assert child.ahead_s == 0
    child.learn(door.header().decode())
    assert child.ahead_s == pytest.approx(3600)
    for clock in (parents, own):
        clock.advance(5000)
    own.set_to(0)
    assert abs(child.stamp() - door.now()) < timedelta(seconds=1)


def test_no_two_stamps_are_the_same() -> None:
    child = ParentClock(ManualClock())
    stamps = [child.stamp() for _ in range(100)]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize("header", [None, "", "1", "a b", "1 2 3", "-1 0", "9" * 40 + " 0"])
def test_what_is_no_time_is_ignored(header: str | None) -> None:
    child = ParentClock(ManualClock())
    before = child.stamp()
    child.learn(header)
    assert child.stamp() - before < timedelta(seconds=1)
    assert child.ahead_s == 0
