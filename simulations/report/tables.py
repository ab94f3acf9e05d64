"""The figures for machines: results.csv has a row for each cell, results.json the answer too."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import to_json

from simulations.report.cells import CellSummary
from simulations.report.forgotten import measured
from simulations.report.run import RunSummary
from simulations.report.votes import UPDATES


def row(cell: CellSummary, share: float | None) -> dict[str, Any]:
    """Make nested tables of a cell's plain values; ``share`` is what it keeps under attack."""
    tally = cell.tally
    matrices = [(m.name, one) for m in cell.matrices if (one := measured(m)) is not None]
    return {
        "id": cell.id,
        "name": cell.name,
        "vary": cell.vary,
        "final": cell.done.final,
        "retained": share,
        "cost": cell.done.model_dump(exclude={"kind", "final"}),
        "outcomes": tally.outcomes,
        "updates": {name: tally.updates[name] for name in UPDATES},
        "refused": tally.refused,
        "forgetting": {
            name: {
                "average": matrix.average,
                "backward_transfer": matrix.backward_transfer,
                "forgetting": matrix.forgetting,
            }
            for name, matrix in matrices
        },
    }


def results_json(
    run: RunSummary, shares: Mapping[str, float | None], answers: Sequence[str]
) -> bytes:
    """Write ``results.json``: what was asked, the answer, and every cell; null where not finite."""
    result = {
        "format": 1,
        "name": run.experiment.name,
        "question": run.experiment.question,
        "answer": answers,
        "expected": run.expected,
        "finished": len(run.cells),
        "missing": run.missing,
        "versions": run.experiment.versions,
        "cells": [row(cell, shares.get(cell.id)) for cell in run.cells],
    }
    return to_json(result, indent=1, inf_nan_mode="null") + b"\n"


def results_csv(run: RunSummary, shares: Mapping[str, float | None]) -> bytes:
    """Write ``results.csv``: settings by their dotted path, ``final.…``, costs, and counts.

    Lists are written as JSON; a value that a cell does not have is empty.
    """
    rows = [_flat(row(cell, shares.get(cell.id))) for cell in run.cells]
    seen = dict.fromkeys(name for flat in rows for name in flat) or {("id", "id"): None}
    # A column belongs beside its like, though the first cells do not have it.
    groups = list(dict.fromkeys(group for group, _ in seen))
    columns = sorted(seen, key=lambda column: groups.index(column[0]))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([name for _, name in columns])
    table.writerows([flat.get(column, "") for column in columns] for flat in rows)
    return text.getvalue().encode()


def _flat(nested: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """Flatten to one level: (group, column) to a plain value."""
    flat: dict[tuple[str, str], Any] = {}
    prefixes = {"final": "final.", "outcomes": "rounds.", "updates": "updates."}
    prefixes |= {"refused": "refused.", "vary": "", "cost": ""}
    for group, values in nested.items():
        if group == "forgetting":
            for matrix, measures in values.items():
                flat |= {(group, f"{matrix}.{key}"): value for key, value in measures.items()}
        elif group in prefixes:
            flat |= {(group, prefixes[group] + key): _plain(v) for key, v in values.items()}
        else:
            flat[group, group] = _plain(values)
    return flat


def _plain(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
