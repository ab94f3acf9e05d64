"""The figures for machines: results.csv has a row for each cell, results.json the answer too."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from simulations.report.cells import Cell
from simulations.report.forgotten import measured
from simulations.report.run import Run

COSTS = (
    "up_bytes",
    "down_bytes",
    "virtual_s",
    "wall_s",
    "cpu_s",
    "peak_bytes",
    "events",
    "devices",
    "rounds",
)
UPDATES = ("accepted", "outvoted", "late", "stand-in")


def row(cell: Cell, kept: float | None) -> dict[str, Any]:
    """A cell as nested tables of plain values."""
    tally = cell.tally
    return {
        "id": cell.id,
        "name": cell.name,
        "vary": dict(cell.vary),
        "final": dict(cell.done.final),
        "retained": kept,
        "cost": {name: getattr(cell.done, name) for name in COSTS} | {"messages": cell.messages},
        "outcomes": dict(tally.outcomes),
        "updates": {name: tally.updates[name] for name in UPDATES},
        "refused": dict(tally.refused),
        "forgetting": {
            matrix.name: {
                "average": of.average,
                "backward_transfer": of.backward_transfer,
                "forgetting": of.forgetting,
            }
            for matrix in cell.matrices
            if (of := measured(matrix)) is not None
        },
    }


def to_json(run: Run, kept: Mapping[str, float | None], answers: Sequence[str]) -> str:
    """``results.json``; a figure that is not finite is null."""
    result = {
        "format": 1,
        "name": run.experiment.name,
        "question": run.experiment.question,
        "answer": list(answers),
        "expected": run.expected,
        "finished": len(run.cells),
        "missing": list(run.missing),
        "versions": dict(run.experiment.versions),
        "cells": [row(cell, kept.get(cell.id)) for cell in run.cells],
    }
    return json.dumps(_finite(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(of) for key, of in value.items()}
    if isinstance(value, list):
        return [_finite(of) for of in value]
    return value


def to_csv(run: Run, kept: Mapping[str, float | None]) -> str:
    """``results.csv``: settings by their dotted path, ``final.…``, costs, and counts.

    Lists are written as JSON; what a cell does not have is empty.
    """
    rows = [_flat(row(cell, kept.get(cell.id))) for cell in run.cells]
    seen = dict.fromkeys(name for of in rows for name in of) or {"id": None, "name": None}
    # A column belongs beside its like, though the first cells do not have it.
    groups = list(dict.fromkeys(name.split(":")[0] for name in seen))
    columns = sorted(seen, key=lambda name: groups.index(name.split(":")[0]))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([name.partition(":")[2] or name for name in columns])
    for of in rows:
        table.writerow([of.get(name, "") for name in columns])
    return text.getvalue()


def _flat(of: Mapping[str, Any]) -> dict[str, Any]:
    """One level: ``group:column`` to a value, where groups keep like columns together."""
    flat: dict[str, Any] = {"id": of["id"], "name": of["name"]}
    flat |= {f"vary:{key}": _plain(value) for key, value in of["vary"].items()}
    flat |= {f"final:final.{key}": _plain(value) for key, value in of["final"].items()}
    flat["retained"] = _plain(of["retained"])
    flat |= {f"cost:{key}": _plain(value) for key, value in of["cost"].items()}
    flat |= {f"outcomes:rounds.{key}": value for key, value in of["outcomes"].items()}
    flat |= {f"updates:updates.{key}": value for key, value in of["updates"].items()}
    flat |= {f"refused:refused.{key}": value for key, value in of["refused"].items()}
    for matrix, measures in of["forgetting"].items():
        flat |= {f"forgetting:{matrix}.{key}": value for key, value in measures.items()}
    return flat


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
