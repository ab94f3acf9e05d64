"""Claims about figures: what a report says is what the records say."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from random import Random

import numpy as np
import pytest

from simulations.forgetting import LossMatrix
from simulations.report import write_report
from simulations.report.text import figure, percent
from tests.simulations.report import made
from tests.simulations.report.page import Page, finals, page_of


@pytest.mark.slow
def test_losses_in_the_comparison_are_the_medians_of_the_records(tmp_path: Path) -> None:
    folder = made.byzantine(tmp_path / "run", seeds=3)
    page = page_of(folder)
    for strategy in ("fedavg", "banyan"):
        row = page.row("comparison", strategy)
        for attack in ("none", "alie", "ipm"):
            of = finals(folder, **{"strategy.name": strategy, "attack.name": attack})
            assert len(of) == 3
            assert row[attack] == figure(statistics.median(f["loss"] for f in of))


@pytest.mark.slow
def test_the_retained_share_is_against_the_same_seed_without_the_attack(tmp_path: Path) -> None:
    folder = made.byzantine(tmp_path / "run")
    row = page_of(folder).row("attacks", "flower:FedTrimmedAvg")
    shares = []
    for seed in (0, 1):
        vary = {"strategy.name": "flower:FedTrimmedAvg", "seed": seed}
        (under,) = finals(folder, **vary, **{"attack.name": "alie"})
        (free,) = finals(folder, **vary, **{"attack.name": "none"})
        shares.append(under["gain"] / free["gain"])
    assert row["alie"] == percent(statistics.median(shares))
    assert row["worst"] == row["alie"]


@pytest.mark.slow
def test_the_order_of_rows_and_columns_is_that_of_the_file(tmp_path: Path) -> None:
    rows = page_of(made.byzantine(tmp_path / "run")).tables["comparison"][0]
    assert rows[1] == ["strategy", "none", "sign_flip", "alie", "gaussian", "ipm"]
    assert [row[0] for row in rows[2:]] == ["fedavg", "flower:FedTrimmedAvg", "banyan"]


def test_a_setting_that_compare_leaves_out_is_not_averaged_away(tmp_path: Path) -> None:
    folder = made.write_experiment(
        tmp_path / "run", 'name = "x"\ncompare = ["strategy.name", "attack.name"]\n'
    )
    topology = made.tree(1, 1, 1, 4, 0)
    for strategy in ("a", "b"):
        for attack in ("none", "alie"):
            for rank in (8, 16):
                ends = {"kind": "traffic", "at_s": 1, "up_bytes": 1, "down_bytes": 1, "messages": 1}
                last = made.done([ends], topology, 1)
                last["final"] = {"loss": 1.0 if rank == 8 else 3.0}
                vary = {"strategy.name": strategy, "attack.name": attack, "model.rank": rank}
                made.write_cell(folder, {**vary, "seed": 0}, {}, [topology, last])
    page = page_of(folder)
    assert page.row("comparison", "a, rank 8")["alie"] == "1.000"
    assert page.row("comparison", "a, rank 16")["alie"] == "3.000"


@pytest.mark.slow
def test_the_csv_has_every_setting_figure_and_cost_of_every_cell(tmp_path: Path) -> None:
    folder = made.byzantine(tmp_path / "run")
    with write_report(folder).csv.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == 30
    wanted = {"id", "strategy.name", "attack.name", "seed", "final.loss", "final.gain", "retained"}
    wanted |= {"up_bytes", "down_bytes", "messages", "wall_s", "cpu_s", "virtual_s", "peak_bytes"}
    wanted |= {"rounds.released", "updates.outvoted", "refused.stale"}
    assert wanted <= rows[0].keys()
    for row in rows:
        vary = {"strategy.name": row["strategy.name"], "attack.name": row["attack.name"]}
        (final,) = finals(folder, **vary, seed=int(row["seed"]))
        assert float(row["final.loss"]) == final["loss"]
        assert (row["retained"] == "") == (row["attack.name"] == "none")


@pytest.mark.slow
def test_a_list_is_one_column_of_the_csv(tmp_path: Path) -> None:
    with write_report(made.scale(tmp_path / "run")).csv.open(encoding="utf-8", newline="") as text:
        fans = [json.loads(row["topology.fan_out"]) for row in csv.DictReader(text)]
    assert fans == [[2, 5], [2, 5, 10], [2, 5, 10, 10], [2, 5, 10, 100]]


def test_forgetting_is_measured_as_the_loss_matrix_does(tmp_path: Path) -> None:
    folder = made.forgetting(tmp_path / "run", seeds=1)
    page = page_of(folder)
    for path in (folder / "cells").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        record = next(line for line in lines if line["kind"] == "matrix")
        of = LossMatrix(tuple(record["sources"]), np.array(record["losses"]))
        row = page.row("forgetting", lines[0]["vary"]["case"])
        assert row["average loss"] == figure(of.average)
        assert row["backward transfer"] == figure(of.backward_transfer)
        assert row["forgetting"] == figure(of.forgetting)


def test_a_loss_that_ran_away_is_called_diverged(tmp_path: Path) -> None:
    folder = made.write_experiment(tmp_path / "run", 'name = "x"\n')
    topology = made.tree(1, 1, 1, 4, 0)
    for attack, end in (("none", 3.0), ("ipm", float("nan")), ("alie", float("inf"))):
        records = made.curve(Random(1), topology, 3, kept=1, pace=10)
        for record in records:
            if record["kind"] == "loss" and record["round"] == 3:
                record["loss"] = end
        vary, settings = {"attack.name": attack, "seed": 0}, {"attack": {"name": attack}}
        last = made.done(records, topology, 1)
        made.write_cell(folder, vary, settings, [topology, *records, last])
    report = write_report(folder)
    page = Page(report.html.read_text("utf-8"))
    assert page.row("comparison", "ipm")["loss"] == "diverged"
    assert page.row("attacks", "all cells")["ipm"] == "diverged"
    assert "NaN" not in report.json.read_text("utf-8")
    paths = [value for _, name, value in page.attributes if name in {"d", "x", "y", "width"}]
    assert not [path for path in paths if "nan" in path or "inf" in path]


def test_growth_is_against_the_next_smaller_number_of_devices(tmp_path: Path) -> None:
    report = write_report(made.scale(tmp_path / "run"))
    rows = Page(report.html.read_text("utf-8")).tables["costs"][0]
    assert [row[0] for row in rows[1:]] == ["10", "100 (×10)", "1,000 (×10)", "10,000 (×10)"]
    memory = rows[0].index("peak memory")
    assert rows[2][memory] == "220\u00a0MB|×1.2"
    assert report.answers[0].startswith("From 10 to 10,000 devices (×1,000): wall time ×1,000")


@pytest.mark.slow
def test_the_answer_names_the_best_and_the_worst_case(tmp_path: Path) -> None:
    answer = write_report(made.byzantine(tmp_path / "a")).answers[0]
    assert answer.startswith("banyan keeps at worst 9")
    assert "fedavg <\u00a0−1000\u00a0% (ipm)" in answer
    answer = write_report(made.stragglers(tmp_path / "b")).answers[0]
    assert answer.startswith("banyan reaches 90\u00a0%")
    assert "synchronous after" in answer


def test_refusals_are_counted_by_reason(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    (path,) = (folder / "cells").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    stale = sum(
        line["refused"]["stale"]
        for line in lines
        if line["kind"] == "round" and line["tier"] == "subdomain"
    )
    assert page_of(folder).row("rounds", "subdomain")["refused: stale"] == f"{stale:,}"


def test_a_final_loss_that_is_null_is_called_diverged(tmp_path: Path) -> None:
    folder = made.single(tmp_path / "run")
    (path,) = (folder / "cells").glob("*.jsonl")
    *lines, last = path.read_text("utf-8").splitlines()
    ending = json.loads(last)
    ending["final"] = {"loss": None, "base": 4.2, "best": None, "gain": None}
    path.write_text("\n".join([*lines, json.dumps(ending)]) + "\n", "utf-8")
    row = page_of(folder).row("comparison", "all cells")
    assert (row["loss"], row["gain"]) == ("diverged", "diverged")
    assert "best" not in row


@pytest.mark.slow
def test_attacks_stand_in_rows_where_the_experiment_asks_for_it(tmp_path: Path) -> None:
    folder = made.byzantine(tmp_path / "run")
    columns = page_of(folder).row("attacks", "banyan")
    made.change(folder, compare=["attack.name", "strategy.name"])
    page = page_of(folder)
    for attack in ("sign_flip", "alie", "gaussian", "ipm", "worst"):
        assert page.row("attacks", attack)["banyan"] == columns[attack]
