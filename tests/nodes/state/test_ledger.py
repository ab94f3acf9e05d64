"""Claims about the ledger, on real files and with real crashes."""

from __future__ import annotations

import math
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nodes.machine.clock import ManualClock
from nodes.state.database import DatabaseError
from nodes.state.ledger import START, Claim, Ledger, LedgerError
from protocol import NodeId
from tests.nodes.state.test_artefacts import files_of_at_most
from tests.processes import started

CHILD = NodeId("ab" * 32)
CLAIM = Claim(CHILD, 3, "task-1", "accepted")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def ledger(path: Path, clock: ManualClock) -> Iterator[Ledger]:
    with Ledger.open(path, clock.now_ms) as opened:
        yield opened


def tamper(path: Path, *statements: str) -> None:
    """Change the file as somebody with a database tool would: triggers out of the way first."""
    connection = sqlite3.connect(path)
    for trigger in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
        connection.execute(f"DROP TRIGGER {trigger[0]}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def write_five(path: Path) -> None:
    with Ledger.open(path, ManualClock().now_ms) as ledger:
        for number in range(1, 5):
            ledger.append("counted", {"number": number})
        ledger.append("update-accepted", {"child": CHILD}, CLAIM)


# -- appending and reading


def test_events_come_back_in_order_with_their_time_and_body(
    ledger: Ledger, clock: ManualClock
) -> None:
    ledger.append("opened", {"round": 1, "name": "Ärztin", "share": 0.1})
    clock.advance(250)
    ledger.append("closed", {"members": ("a", "b"), "code": None})
    first, second = ledger.events()
    assert (first.seq, first.kind, second.seq, second.kind) == (1, "opened", 2, "closed")
    assert second.at_ms - first.at_ms == 250
    assert first.body == {"round": 1, "name": "Ärztin", "share": 0.1}
    assert second.body == {"members": ["a", "b"], "code": None}


def test_append_returns_the_event_as_it_will_be_read(ledger: Ledger) -> None:
    event = ledger.append("update-accepted", {"b": (1, 2), "a": 1.5}, CLAIM)
    assert [event] == list(ledger.events())


def test_each_event_names_the_one_before_it(ledger: Ledger) -> None:
    assert ledger.head == (0, START)
    first, second = ledger.append("a", {}), ledger.append("b", {})
    assert (first.previous, second.previous) == (START, first.digest)
    assert ledger.head == (2, second.digest)


def test_events_can_be_chosen_by_kind_and_by_number(ledger: Ledger) -> None:
    for kind in ("a", "b", "a", "c", "a"):
        ledger.append(kind, {})
    assert [e.seq for e in ledger.events(kinds={"a", "c"}, after=1)] == [3, 4, 5]
    assert list(ledger.events(kinds=set())) == []


def test_more_events_than_fit_one_reading_are_all_read(ledger: Ledger) -> None:
    ledger.append_all([("counted", {"number": i}) for i in range(1500)])
    assert [e.body["number"] for e in ledger.events()] == list(range(1500))
    assert ledger.verify() == 1500


def test_a_ledger_opened_again_goes_on_where_it_was(path: Path, clock: ManualClock) -> None:
    write_five(path)
    with Ledger.open(path, clock.now_ms) as ledger:
        assert ledger.append("counted", {"number": 6}).seq == 6
        assert ledger.verify() == 6


@pytest.mark.parametrize("body", [{"x": math.nan}, {"x": math.inf}, {"x": object()}, {"x": b"raw"}])
def test_a_body_that_json_cannot_hold_is_refused_and_nothing_is_written(
    ledger: Ledger, body: dict[str, Any]
) -> None:
    with pytest.raises(LedgerError) as refused:
        ledger.append_all([("fine", {}), ("not fine", body)])
    assert refused.value.code == "bad-body"
    assert ledger.head.seq == 0


# -- claims


def test_a_claim_is_taken_from_its_event_on(ledger: Ledger) -> None:
    assert not ledger.taken(CHILD, 3, "task-1")
    ledger.append("update-accepted", {}, CLAIM)
    assert ledger.taken(CHILD, 3, "task-1")
    assert not ledger.taken(CHILD, 3, "task-2")
    assert not ledger.taken(CHILD, 4, "task-1")


def test_a_claim_already_taken_is_refused_and_nothing_is_written(ledger: Ledger) -> None:
    ledger.append("update-accepted", {}, CLAIM)
    again = Claim(CLAIM.node, CLAIM.round, CLAIM.task, "refused", "norm-too-large")
    with pytest.raises(LedgerError) as refused:
        ledger.append_all([("update-refused", {}), ("noted", {})], again)
    assert refused.value.code == "claimed-twice"
    assert [e.kind for e in ledger.events()] == ["update-accepted"]


def test_one_of_many_threads_gets_a_claim(ledger: Ledger) -> None:
    def attempt(number: int) -> bool:
        try:
            ledger.append("update-accepted", {"number": number}, CLAIM)
        except LedgerError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(32))) == 1
    assert ledger.verify() == 1


# -- several writers and readers


def test_threads_append_without_losing_an_event(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: ledger.append("counted", {"number": i}), range(100)))
    assert sorted(e.body["number"] for e in ledger.events()) == list(range(100))
    assert ledger.verify() == 100


def test_two_open_ledgers_append_to_one_chain(ledger: Ledger, path: Path) -> None:
    with Ledger.open(path, lambda: 0) as other:
        for _ in range(5):
            ledger.append("from the daemon", {})
            other.append("from the command line", {})
    assert ledger.verify() == 10


def test_a_reader_sees_what_is_written_while_it_is_open(ledger: Ledger, path: Path) -> None:
    ledger.append("before", {})
    with Ledger.open_read_only(path) as reader:
        assert [e.kind for e in reader.events()] == ["before"]
        ledger.append("after", {})
        assert [e.kind for e in reader.events(after=1)] == ["after"]


def test_a_reader_cannot_write(ledger: Ledger, path: Path) -> None:
    with Ledger.open_read_only(path) as reader, pytest.raises(DatabaseError):
        reader.append("x", {})
    assert ledger.head.seq == 0


def test_a_ledger_that_is_not_there_is_not_made_by_reading(path: Path) -> None:
    with pytest.raises(LedgerError) as missing:
        Ledger.open_read_only(path)
    assert missing.value.code == "no-ledger"
    assert not path.exists()


# -- tampering


def test_the_database_itself_refuses_to_change_or_delete(path: Path) -> None:
    write_five(path)
    connection = sqlite3.connect(path)
    for statement in (
        "UPDATE events SET body = '{}' WHERE seq = 2",
        "DELETE FROM events WHERE seq = 5",
        "INSERT OR REPLACE INTO events SELECT * FROM events WHERE seq = 2",
        "INSERT INTO events SELECT 9, at_ms, kind, body, claim, previous, digest FROM events",
        "UPDATE claims SET verdict = 'refused'",
        "DELETE FROM claims",
        "INSERT OR REPLACE INTO claims SELECT node, round, task, 'refused', '', 1 FROM claims",
    ):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("UPDATE events SET body = '{\"number\":9}' WHERE seq = 3", 3),
        ("UPDATE events SET at_ms = at_ms + 1 WHERE seq = 1", 1),
        ("UPDATE events SET kind = 'x' WHERE seq = 5", 5),
        ("UPDATE events SET body = X'00' WHERE seq = 2", 2),
        ("UPDATE events SET claim = '' WHERE seq = 5", 5),
        ("UPDATE events SET digest = previous WHERE seq = 4", 4),
        ("DELETE FROM events WHERE seq = 2", 3),
        ("DELETE FROM events WHERE seq = 1", 2),
        ("DELETE FROM claims", 5),
        ("UPDATE claims SET verdict = 'refused'", 5),
        ("INSERT INTO claims VALUES ('other', 1, 't', 'accepted', '', 2)", 2),
    ],
)
def test_a_tampered_ledger_is_found_at_the_event(path: Path, statement: str, seq: int) -> None:
    write_five(path)
    tamper(path, statement)
    with Ledger.open_read_only(path) as ledger, pytest.raises(LedgerError) as broken:
        ledger.verify()
    assert broken.value.code == "broken-ledger"
    assert f"Event {seq} " in broken.value.sentence


def test_reading_a_tampered_event_is_refused_without_verifying_all(path: Path) -> None:
    write_five(path)
    tamper(path, "UPDATE events SET body = '{}' WHERE seq = 3")
    with Ledger.open_read_only(path) as ledger, pytest.raises(LedgerError):
        list(ledger.events(after=2))


# -- files that are no ledger


def test_a_file_of_something_else_is_refused(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(DatabaseError) as refused:
        Ledger.open(path, lambda: 0)
    assert refused.value.code == "broken-database"


def test_a_database_of_something_else_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(DatabaseError) as refused:
        Ledger.open(path, lambda: 0)
    assert refused.value.code == "broken-database"
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("recipes",)]
    connection.close()


def test_a_ledger_of_a_newer_version_is_refused(path: Path) -> None:
    write_five(path)
    tamper(path, "PRAGMA user_version = 99")
    with pytest.raises(DatabaseError) as refused:
        Ledger.open(path, lambda: 0)
    assert refused.value.code == "newer-database"


# -- trouble


def test_a_full_disk_is_reported_and_the_ledger_goes_on_after_it(
    ledger: Ledger, path: Path
) -> None:
    ledger.append("before", {})
    size = path.with_name(path.name + "-wal").stat().st_size
    with files_of_at_most(size + 5_000), pytest.raises(DatabaseError) as full:
        ledger.append("too long", {"text": "x" * 100_000})
    assert full.value.code in {"disk-full", "disk-error"}
    ledger.append("after", {})
    assert [e.kind for e in ledger.events()] == ["before", "after"]
    assert ledger.verify() == 2


ENDLESS_WRITER = """
import sys
from pathlib import Path
from nodes.state.ledger import Claim, Ledger
with Ledger.open(Path(sys.argv[1]), lambda: 0) as ledger:
    number = ledger.head.seq
    while True:
        number += 2
        first, second = ledger.append_all(
            [("accepted", {"text": "x" * (number % 3000)}), ("noted", {})],
            Claim("child", number, "task", "accepted"),
        )
        print(first.seq, second.seq, flush=True)
"""


@pytest.mark.slow
def test_kill_9_at_any_time_leaves_a_valid_ledger_with_every_acknowledged_event(
    path: Path,
) -> None:
    """Eight crashes of one ledger; each writer goes on from what the last one left."""
    chance = random.Random(7)
    acknowledged: list[int] = []
    for _ in range(8):
        command = [sys.executable, "-c", ENDLESS_WRITER, str(path)]
        with started(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            lines = [writer.stdout.readline() for _ in range(chance.randint(1, 40))]
            # Some kills come after a random while, so that they fall anywhere within a step.
            time.sleep(chance.random() * 0.01)
            writer.kill()
            lines += writer.stdout.readlines()
        whole = [line for line in lines if line.endswith("\n")]
        acknowledged += [int(seq) for line in whole for seq in line.split()]
        with Ledger.open_read_only(path) as ledger:
            count = ledger.verify()
            assert count % 2 == 0, "half a step was written"
            assert [e.seq for e in ledger.events()] == list(range(1, count + 1))
            assert all(ledger.taken(NodeId("child"), seq + 1, "task") for seq in range(1, count, 2))
            assert set(acknowledged) <= set(range(1, count + 1))
    assert len(acknowledged) == len(set(acknowledged))
