"""Claims about the capture experiment: what the audit gives back, and what it costs."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from rich.table import Table
from typer.testing import CliRunner

from aggregation.audit.sketch import sketch
from nodes.cli.app import app
from simulations.capture import Case, Row, honest, in_null_space, run, tables
from simulations.capture.world import Shape, colluders

SIZE, SEEDS = 5_000, 3
GOAL = 1.5
"""Times the flat federation's error that the audit must bring a captured tree back to."""
BYTES = 0.05

CAPTURE = Case(10, 16)


def measured(case: Case) -> dict[str, list[Row]]:
    """The rows of each defence."""
    rows = run(settings=[case], size=SIZE, seeds=SEEDS)
    return {name: [r for r in rows if r.defence == name] for name in case.defences}


def worst(rows: list[Row]) -> float:
    return max(r.ratio for r in rows)


def least(rows: list[Row]) -> float:
    return min(r.ratio for r in rows)


@pytest.mark.parametrize(
    "case",
    [
        CAPTURE,
        replace(CAPTURE, rounds=3),
        replace(CAPTURE, rounds=3, active=1),
        replace(CAPTURE, heterogeneity=1.0),
    ],
    ids=["one round", "three rounds with rehearsal", "pushing in one of three", "other domains"],
)
def test_the_audit_returns_a_tree_captured_by_sixteen_of_a_hundred(case: Case) -> None:
    found = measured(case)
    assert least(found["none"]) > 2
    assert worst(found["audit"]) <= GOAL
    assert all(r.found == r.captured == 4 and r.false_alarms == 0 for r in found["audit"])
    assert all(0 < r.share <= BYTES for r in found["audit"])


@pytest.mark.parametrize("push", ["little", "1", "under", "2", "2.5"])
def test_what_the_audit_does_not_see_does_little(push: str) -> None:
    assert worst(measured(replace(CAPTURE, attack=push))["audit"]) <= GOAL


def test_one_colluder_fewer_does_not_capture_the_upper_tier() -> None:
    fifteen, sixteen = (measured(replace(CAPTURE, attackers=n))["none"] for n in (15, 16))
    assert worst(fifteen) < 2 < 3 < least(sixteen)


@pytest.mark.slow
def test_who_knows_the_projection_is_not_seen() -> None:
    case = replace(CAPTURE, defences=("audit", "audit, seed known"))
    found = measured(case)
    assert all(r.found == 0 for r in found["audit, seed known"])
    assert least(found["audit, seed known"]) > 2
    assert all(r.found == 4 for r in found["audit"])


def test_what_is_crafted_for_a_known_projection_is_invisible_to_it_alone() -> None:
    direction = np.random.default_rng(0).standard_normal(1_000).astype(np.float32)
    hidden = in_null_space(direction, b"known", 64)
    length = np.linalg.norm(direction)
    assert np.linalg.norm(hidden) == pytest.approx(length, rel=1e-5)
    assert np.linalg.norm(sketch([hidden], b"known", 64)) < 1e-5 * length
    assert np.linalg.norm(sketch([hidden], b"drawn later", 64)) > 0.7 * length


@pytest.mark.parametrize("placed", [Case(10, 0), Case(10, 30, "spread")], ids=["none", "spread"])
@pytest.mark.parametrize("heterogeneity", [0.0, 3.0])
def test_trees_within_their_tolerance_raise_no_alarm(placed: Case, heterogeneity: float) -> None:
    case = replace(placed, heterogeneity=heterogeneity, defences=("audit",))
    assert all(r.false_alarms == r.left_out == 0 for r in measured(case)["audit"])


def test_whole_subtrees_of_colluders_are_left_to_the_rule_above() -> None:
    found = measured(Case(10, 30, "whole", defences=("audit",)))["audit"]
    assert all(r.left_out == 0 for r in found)
    assert worst(found) <= GOAL


def test_recomputing_gives_back_the_domains_that_leaving_out_loses() -> None:
    case = Case(5, 4, attack="3", heterogeneity=3.0, defences=("audit", "audit, recompute"))
    found = measured(case)
    assert least(found["audit"]) > GOAL > 1 > worst(found["audit, recompute"])
    assert least(found["audit, recompute"]) < least(found["audit"]) / 2
    assert all(0.4 < r.share < 0.46 for r in found["audit, recompute"])  # two of five forward


def test_reassignment_scatters_colluders_but_does_not_bound_them() -> None:
    case = Case(10, 30, defences=("none", "reassign", "audit, reassign"))
    found = measured(case)
    assert worst(found["reassign"]) < least(found["none"]) / 2
    assert worst(found["reassign"]) > GOAL
    assert worst(found["audit, reassign"]) < 1


def test_the_same_seed_gives_the_same_rows() -> None:
    case = replace(CAPTURE, rounds=2, defences=("audit, reassign",))
    assert run(settings=[case], size=SIZE, seeds=1) == run(settings=[case], size=SIZE, seeds=1)


def test_colluders_are_placed_as_said() -> None:
    shape = Shape(10)
    assert (shape.f, shape.flat_f, shape.capture) == (3, 30, 16)

    def each(count: int, placement: str) -> list[int]:
        of = colluders(shape, count, placement).reshape(10, 10)
        return [int(row.sum()) for row in of]

    assert each(16, "concentrated") == [4, 4, 4, 4, 0, 0, 0, 0, 0, 0]
    assert each(16, "spread") == [2, 2, 2, 2, 2, 2, 1, 1, 1, 1]
    assert each(30, "whole") == [10, 10, 10, 0, 0, 0, 0, 0, 0, 0]


def test_the_table_has_a_line_for_each_defence() -> None:
    rows = run(settings=[CAPTURE], size=SIZE, seeds=2)
    _, shown = tables(rows)
    assert isinstance(shown, Table)
    title = str(shown.title)
    assert title.startswith("10×10, 16 attackers concentrated, push large; flat error 0.2")
    cells = [list(column.cells) for column in shown.columns]
    assert cells[0] == ["none", "audit"]
    assert [column[1] for column in cells[4:6]] == ["8/8", "0/12"]


def test_honest_trees_with_domains_are_told_apart_and_count() -> None:
    found = {(a.tree, a.kind): a for a in honest.measure(size=SIZE, seeds=1)}
    assert found["10×10", "alike"].codes == {"clean": 10}
    assert found["10×10", "every subtree its own domain"].left_out == 0
    assert found["10×10", "three subtrees of other domains"].codes == {"clean": 7, "apart": 3}
    assert found["10×10", "two domains within every subtree"].left_out == 0


def test_the_command_prints_rows_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    only = run(settings=[CAPTURE], size=SIZE, seeds=1)
    monkeypatch.setattr("simulations.capture.run", lambda **_: only)
    result = CliRunner().invoke(app, ["bench", "capture", "--quick", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["rows"] == json.loads(json.dumps([asdict(r) for r in only]))
