"""A run's folder, read: what the experiment asks, and a summary of every finished cell."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from nodes.errors import NodeError
from simulations.records import ExperimentRecord, FailureRecord, TopologyRecord, first_mistake
from simulations.report.cells import CellSummary, read_cell

PART, FAILED = ".part.jsonl", ".failed.json"
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class RunSummary:
    """A folder at one moment.

    Attributes:
        toml: the experiment as it was given.
        order: for each varied setting its values in order, as JSON.
        cells: finished cells, in order.
        missing: the names of cells that are not finished.
        failures: why cells failed.
        begun: how many cells have begun, and neither finished nor failed.
    """

    experiment: ExperimentRecord
    toml: str
    order: Mapping[str, tuple[str, ...]]
    cells: tuple[CellSummary, ...]
    missing: tuple[str, ...]
    failures: tuple[FailureRecord, ...]
    begun: int

    @property
    def expected(self) -> int:
        """Cells of the whole run."""
        return len(self.experiment.cells)


def read_run(folder: Path) -> RunSummary:
    """Read everything that the report needs, each file once.

    Raises ``NodeError``: ``no-run`` when the folder holds no experiment, ``bad-record`` for a file
    or a line that cannot be read.
    """
    try:
        toml = (folder / "experiment.toml").read_text("utf-8", "replace")
        experiment = _read(folder / "experiment.json", ExperimentRecord)
    except FileNotFoundError as error:
        name = Path(error.filename).name
        raise NodeError("no-run", f"{folder} holds no run: it has no {name}.") from None
    cells: list[CellSummary] = []
    trees: set[tuple[object, ...]] = set()
    begun: set[str] = set()
    for path in sorted((folder / "cells").glob("*.jsonl")):
        if path.name.endswith(PART):
            begun.add(path.name.removesuffix(PART))
            continue
        cell = read_cell(path)
        if cell.topology is not None:
            # Hundreds of cells share a few trees; one of each is enough to draw.
            shape = _tree_shape(cell.topology)
            if shape in trees:
                cell = replace(cell, topology=None)
            trees.add(shape)
        cells.append(cell)
    order = _order(experiment)
    cells.sort(key=lambda cell: [rank(order, key, cell.vary.get(key)) for key in order])
    done = {cell.id for cell in cells}
    failures = [_read(path, FailureRecord) for path in sorted(folder.glob(f"cells/*{FAILED}"))]
    failures = [failure for failure in failures if failure.id not in done]
    return RunSummary(
        experiment=experiment,
        toml=toml,
        order=order,
        cells=tuple(cells),
        missing=tuple(cell.name for cell in experiment.cells if cell.id not in done),
        failures=tuple(failures),
        begun=len(begun - done - {failure.id for failure in failures}),
    )


def _read(path: Path, model: type[M]) -> M:
    try:
        return model.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise NodeError("bad-record", f"{path}: {first_mistake(error)}.") from None


def _order(experiment: ExperimentRecord) -> dict[str, tuple[str, ...]]:
    order: dict[str, dict[str, None]] = {}
    for cell in experiment.cells:
        for key, value in cell.vary.items():
            order.setdefault(key, {})[json.dumps(value, sort_keys=True)] = None
    return {key: tuple(values) for key, values in order.items()}


def rank(order: Mapping[str, tuple[str, ...]], key: str, value: Any) -> tuple[int, str]:
    """Sort the values of a setting as the experiment's cells have them."""
    as_json, values = json.dumps(value, sort_keys=True), order.get(key, ())
    return values.index(as_json) if as_json in values else len(values), as_json


def _tree_shape(topology: TopologyRecord) -> tuple[object, ...]:
    """Reduce a tree to what it looks like: tiers, scopes, and how many attackers there are."""
    scopes = Counter((node.tier, node.scope) for node in topology.nodes)
    attackers = sum(node.attacker for node in topology.nodes)
    return tuple(sorted(topology.counts.items())), tuple(sorted(scopes.items())), attackers
