"""What a process cannot do at present stands in a file until it can."""

from __future__ import annotations

from pathlib import Path

from nodes.machine.clock import ManualClock
from nodes.machine.troubles import Troubles, read_troubles


def test_a_trouble_stands_until_it_is_cleared(tmp_path: Path) -> None:
    clock, file = ManualClock(), tmp_path / "troubles.json"
    troubles = Troubles(file, clock)
    troubles.report("uplink", "link-down", "Nobody answers.")
    clock.advance(2000)
    again = troubles.report("uplink", "link-down", "Nobody answers.")
    assert (again.count, again.last_ms - again.since_ms) == (2, 2000)
    assert read_troubles(file) == (again,)
    troubles.clear("uplink")
    assert read_troubles(file) == ()


def test_another_reason_is_written_at_once_and_the_same_one_once_a_second(tmp_path: Path) -> None:
    clock, file = ManualClock(), tmp_path / "troubles.json"
    troubles = Troubles(file, clock)
    for _ in range(100):
        troubles.report("disk", "disk-full", "Free some space.")
    assert read_troubles(file)[0].count == 1
    troubles.report("disk", "disk-error", "The disk fails.")
    assert (read_troubles(file)[0].count, troubles.standing[0].count) == (101, 101)


def test_a_new_process_begins_without_troubles(tmp_path: Path) -> None:
    file = tmp_path / "troubles.json"
    Troubles(file, ManualClock()).report("round", "no-probes", "Name a file.")
    Troubles(file, ManualClock())
    assert read_troubles(file) == ()


def test_a_damaged_file_and_a_missing_folder_are_no_errors(tmp_path: Path) -> None:
    (tmp_path / "troubles.json").write_text('[{"key": 1}]')
    assert read_troubles(tmp_path / "troubles.json") == ()
    Troubles(tmp_path / "nowhere" / "troubles.json", ManualClock()).report("a", "b", "c")
