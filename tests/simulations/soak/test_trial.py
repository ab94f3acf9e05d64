"""What a node says is heard once, wherever it stands, and the table shows its own words first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nodes.machine.clock import ManualClock
from nodes.machine.troubles import Troubles
from simulations.soak.case import row
from simulations.soak.failures import markdown
from simulations.soak.hazards import FILLER, fill
from simulations.soak.trial import NAMES, Trial


def test_terminal_troubles_and_log_are_heard_once(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "made", tmp_path)
    for name in NAMES:
        (tmp_path / name / "logs").mkdir(parents=True)
    with (tmp_path / "one.console").open("w") as console:
        console.write("Loading …\nno-room: There is no room.\nhalf-a-line: not yet")
        console.flush()
        trial.listen()
        console.write(" whole\nTraceback (most recent call last):\n")
    Troubles(tmp_path / "one" / "troubles.json", ManualClock()).report(
        "uplink", "link-down", "The parent does not answer."
    )
    lines = [
        {"level": "info", "event": "started"},
        {"level": "warning", "event": "update-refused", "code": "stale", "why": "Too | old."},
        {"level": "warning", "event": "uplink", "code": "link-down", "why": "Said before."},
    ]
    log = tmp_path / "two" / "logs" / "node.jsonl"
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "no JSON\n", "utf-8")
    trial.listen()
    trial.listen()
    heard = [(s.node, s.where, s.code) for s in trial.said]
    assert heard == [
        ("one", "terminal", "no-room"),
        ("one", "troubles", "link-down"),
        ("one", "terminal", "half-a-line"),
        ("one", "terminal", "traceback"),
        ("two", "log", "stale"),
        ("two", "log", "link-down"),
    ]
    found = row(trial, "a case", "this", 2.6, node="two")
    assert [said.node for said in found.said[:2]] == ["two", "two"]
    (shown,) = markdown([found]).splitlines()[2:]
    assert shown.startswith("| a case | this | `stale` (two, log): Too \\| old.<br>")
    assert shown.endswith("| itself | 3 s |")


def test_a_case_that_never_recovered_says_so(tmp_path: Path) -> None:
    trial = Trial(tmp_path / "made", tmp_path)
    found = row(trial, "a case", "this", None, "started again")
    assert (found.recovered, found.seconds) == ("no", None)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_filling_a_disk_ends_when_nothing_more_goes_on_it(tmp_path: Path) -> None:
    (tmp_path / FILLER).symlink_to("/dev/full")
    fill(tmp_path / FILLER)  # returns: every write to it says that there is no room
