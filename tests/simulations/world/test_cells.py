"""One cell of an experiment, from its settings to its records."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nodes.errors import NodeError
from simulations.experiment import Settings
from simulations.records import (
    DoneRecord,
    NoteRecord,
    Record,
    RoundRecord,
    TopologyRecord,
    TrafficRecord,
)
from simulations.world import run_cell

R = TypeVar("R")
TIMES = {"wall_s", "cpu_s", "peak_bytes"}
ROOT = Path(__file__).parents[3]
SMALL: dict[str, Any] = {
    "topology": {"fan_out": [2, 4]},
    "model": {"kind": "vector", "size": 64, "rank": 4},
    "devices": [{"rank": 4}],
    "rounds": {"f": 1},
    "run": {"rounds": 3},
}


def ran(**changed: Any) -> list[Record]:
    """The records of the small experiment with some sections changed."""
    sections = {
        name: SMALL.get(name, {}) | dict(of) if isinstance(of, Mapping) else of
        for name, of in changed.items()
    }
    records: list[Record] = []
    fractions: list[float] = []
    given = Settings.model_validate(SMALL | sections)
    run_cell(given, 0, records.append, fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    return records


def of_kind(records: list[Record], kind: type[R]) -> list[R]:
    return [record for record in records if isinstance(record, kind)]


def final(records: list[Record]) -> dict[str, float]:
    (done,) = of_kind(records[-1:], DoneRecord)
    return {name: value for name, value in done.final.items() if value is not None}


def without_times(records: list[Record]) -> list[dict[str, Any]]:
    return [record.model_dump(mode="json", exclude=TIMES) for record in records]


def test_a_cell_tells_its_tree_its_rounds_and_how_it_ended() -> None:
    records = ran()
    (tree,) = of_kind(records, TopologyRecord)
    assert tree.counts == {"root": 1, "language": 2, "device": 8}
    lowest = [r for r in of_kind(records, RoundRecord) if r.tier == "language"]
    assert [r.round for r in lowest if r.scope == "/l0"] == [1, 2, 3]
    assert {r.outcome for r in lowest} <= {"released", "refused-by-gate"}
    (done,) = of_kind(records, DoneRecord)
    assert records[-1] is done
    assert final(records)["loss"] < final(records)["base"]
    assert done.up_bytes == of_kind(records, TrafficRecord)[-1].up_bytes > 0


def test_the_same_seed_gives_the_same_records() -> None:
    assert without_times(ran()) == without_times(ran())


@pytest.mark.slow
def test_several_processes_give_the_same_records() -> None:
    several = ran(run={"processes": 2})
    assert without_times(several) == without_times(ran())


def spaced_interpreter(folder: Path) -> str:
    """The interpreter of a virtual environment whose path has a space."""
    environment = folder / "a folder" / "venv"
    venv.create(environment, symlinks=True)
    return str(environment / "bin" / "python")


@pytest.mark.slow
@pytest.mark.parametrize("spaced", [False, True], ids=["plain", "in a path with a space"])
def test_flowers_engine_gives_the_same_records(tmp_path: Path, spaced: bool) -> None:
    """In a process of its own: Ray starts others, and warns of its future."""
    interpreter = spaced_interpreter(tmp_path) if spaced else sys.executable
    program = tmp_path / "program.py"
    program.write_text(
        "import json, sys\n"
        "from simulations.experiment import Settings\n"
        "from simulations.world import run_cell\n"
        "given = Settings.model_validate(json.loads(sys.argv[1]))\n"
        "records = []\n"
        "run_cell(given, 0, records.append, lambda _: None)\n"
        "print('\\n' + json.dumps([record.model_dump(mode='json') for record in records]))\n"
    )
    settings = SMALL | {"run": {"rounds": 1, "engine": "flower"}}
    command = [interpreter, str(program), json.dumps(settings)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads(done.stdout.strip().splitlines()[-1])
    theirs = [{k: v for k, v in record.items() if k not in TIMES} for record in theirs]
    assert theirs == without_times(ran(run={"rounds": 1}))


@pytest.mark.parametrize("attack", ["scaled_sign_flip", "alie_optimal", "not_finite"])
def test_attackers_cost_banyan_less_than_a_plain_average(attack: str) -> None:
    of = {"topology": {"fan_out": [1, 10]}, "rounds": {"f": 3}}
    bad = {"name": attack, "fraction": 0.3}
    calm = final(ran(**of))["gain"]
    ours = final(ran(**of, attack=bad))["gain"]
    theirs = final(ran(**of, attack=bad, strategy={"name": "fedavg"}))["gain"]
    assert ours > 0.9 * calm
    assert ours > theirs


def test_what_is_not_finite_is_refused_with_its_code() -> None:
    records = ran(topology={"fan_out": [1, 4]}, attack={"name": "not_finite", "fraction": 0.25})
    refused = [r.refused for r in of_kind(records, RoundRecord)]
    assert any("not-finite" in codes for codes in refused)


@pytest.mark.parametrize("name", ["synchronous", "deadline", "fedbuff"])
def test_federations_that_wait_in_another_way_learn_too(name: str) -> None:
    slow = [{"rank": 4, "speed_spread": 10.0}]
    records = ran(
        topology={"fan_out": [8]},
        devices=slow,
        strategy={"name": name},
        rounds={"f": 0, "deadline_s": 20},
    )
    assert final(records)["gain"] > 0
    took = [r.seconds for r in of_kind(records, RoundRecord)]
    if name == "deadline":
        assert max(took) <= 20.1


def test_a_scope_that_is_cut_off_goes_on_by_itself_and_comes_back() -> None:
    events = [
        {"at_s": 10, "kind": "partition", "nodes": "/l0*"},
        {"at_s": 60, "kind": "crash", "nodes": "/l1"},
        {"at_s": 120, "kind": "heal", "nodes": "/l0*"},
    ]
    records = ran(schedule={"events": events}, run={"rounds": 4})
    assert [note.what for note in of_kind(records, NoteRecord)] == ["partition", "crash", "heal"]
    rounds = [r for r in of_kind(records, RoundRecord) if r.tier == "language"]
    assert sum(r.outcome == "released" for r in rounds) >= 4


def test_an_event_for_nobody_is_refused_and_says_how_nodes_are_called() -> None:
    events = [{"at_s": 1, "kind": "leave", "nodes": "/nowhere/*"}]
    with pytest.raises(
        NodeError, match=r'"/nowhere/\*" fits no node. A device is called "'
    ) as error:
        ran(schedule={"events": events}, run={"rounds": 1})
    assert error.value.code == "bad-experiment"
