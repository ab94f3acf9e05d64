"""A run's folder, read: what the experiment asks, and a summary of every finished cell.

``experiment.toml`` says what was asked, ``experiment.json`` what came of it with the command line's
changes: name, question, ``compare``, ``versions``, and every cell in order. Without the latter the
cells are counted from cases, sweep and seeds. ``cells/ID.failed.json`` says why a cell failed.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from simulations.records import TopologyRecord
from simulations.report.cells import Cell, read_cell


@dataclass(frozen=True)
class Experiment:
    """What was asked.

    ``order`` has for each varied setting its values in order, as JSON; ``changes`` what the command
    line set.
    """

    name: str
    question: str
    compare: tuple[str, ...]
    toml: str
    quick: bool
    changes: Mapping[str, Any]
    versions: Mapping[str, str]
    cells: Mapping[str, str]
    expected: int
    order: Mapping[str, tuple[str, ...]]

    def rank(self, key: str, value: Any) -> tuple[int, float, str]:
        """Where a value of a setting stands: as in the file, else by size, else by name."""
        as_json = json.dumps(value, sort_keys=True)
        values = self.order.get(key, ())
        place = values.index(as_json) if as_json in values else len(values)
        size = float(value) if isinstance(value, int | float) else math.inf
        return place, size, as_json


@dataclass(frozen=True)
class Run:
    """A folder at one moment: ``cells`` in order, ``missing`` the names of those not finished.

    ``failed`` has (name, sentence) of cells that failed, ``begun`` counts those with records of a
    beginning that did not.
    """

    experiment: Experiment
    cells: tuple[Cell, ...]
    missing: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    begun: int
    unknown: Counter[str]

    @property
    def expected(self) -> int:
        """Cells of the whole run."""
        return max(self.experiment.expected, len(self.cells))


def read_run(folder: Path) -> Run:
    """Read everything that the report needs, each file once.

    Raises ``NodeError``: ``no-run`` when the folder holds no experiment, ``bad-record`` for a file
    or a line that cannot be read.
    """
    experiment = read_experiment(folder)
    cells: list[Cell] = []
    unknown: Counter[str] = Counter()
    trees: set[tuple[object, ...]] = set()
    part = ".part.jsonl"
    files = sorted((folder / "cells").glob("*.jsonl"))
    for path in files:
        if path.name.endswith(part):
            continue
        cell = read_cell(path)
        unknown.update(cell.unknown)
        if cell.topology is not None:
            # Hundreds of cells share a few trees; one of each is enough to draw.
            shape = tree_shape(cell.topology)
            if shape in trees:
                cell = replace(cell, topology=None)
            trees.add(shape)
        cells.append(cell)
    cells.sort(key=lambda cell: _place(experiment, cell))
    done = {cell.id for cell in cells}
    missing = tuple(name for id_, name in experiment.cells.items() if id_ not in done)
    failed = {path.name.split(".")[0]: _failure(path) for path in _failures(folder)}
    failed = {id_: why for id_, why in failed.items() if id_ not in done}
    begun = {path.name.removesuffix(part) for path in files if path.name.endswith(part)}
    left = len(begun - done - set(failed))
    return Run(experiment, tuple(cells), missing, tuple(failed.values()), left, unknown)


def _failures(folder: Path) -> list[Path]:
    return sorted((folder / "cells").glob("*.failed.json"))


def _failure(path: Path) -> tuple[str, str]:
    why = _json(path)
    return str(why.get("name", path.name)), str(why.get("sentence", ""))


def tree_shape(topology: TopologyRecord) -> tuple[object, ...]:
    """Equal for trees that look the same: tiers, scopes, and how many attackers there are."""
    scopes = Counter((node.tier, node.scope) for node in topology.nodes)
    attackers = sum(node.attacker for node in topology.nodes)
    return tuple(sorted(topology.counts.items())), tuple(sorted(scopes.items())), attackers


def _place(experiment: Experiment, cell: Cell) -> tuple[object, ...]:
    keys = [key for key in experiment.order if key in cell.vary]
    keys += sorted(set(cell.vary) - set(keys))
    return tuple(experiment.rank(key, cell.vary[key]) for key in keys)


def read_experiment(folder: Path) -> Experiment:
    """Read what was asked; raises like ``read_run``."""
    source = folder / "experiment.toml"
    try:
        text = source.read_text("utf-8")
    except FileNotFoundError:
        raise NodeError("no-run", f"{folder} holds no run: it has no experiment.toml.") from None
    except UnicodeDecodeError as error:
        raise NodeError("bad-record", f"{source} is not UTF-8: {error}.") from None
    try:
        asked = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NodeError("bad-record", f"{source} is not valid TOML: {error}.") from None
    resolved = _json(folder / "experiment.json")
    told = {**asked, **resolved}
    cells = [_table(cell) for cell in _list(resolved.get("cells"))]
    order, expected = _order(asked)
    return Experiment(
        name=str(told.get("name", folder.name)),
        question=str(told.get("question", "")).strip(),
        compare=tuple(str(key) for key in _list(told.get("compare"))),
        toml=text,
        quick=resolved.get("quick") is True,
        changes=_table(resolved.get("set")),
        versions={str(k): str(v) for k, v in _table(resolved.get("versions")).items()},
        cells={
            str(cell["id"]): str(cell.get("name", cell["id"])) for cell in cells if "id" in cell
        },
        expected=len(cells) or expected,
        order=_seen(cells) or order,
    )


def _json(path: Path) -> Mapping[str, Any]:
    """A file's table; empty without the file."""
    try:
        return _table(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise NodeError("bad-record", f"{path} is not JSON: {error}.") from None


def _seen(cells: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Of every varied setting the values in the order in which cells have them."""
    seen: dict[str, dict[str, None]] = {}
    for cell in cells:
        for key, value in _table(cell.get("vary")).items():
            seen.setdefault(key, {})[json.dumps(value, sort_keys=True)] = None
    return {key: tuple(values) for key, values in seen.items()}


def _order(asked: Mapping[str, Any]) -> tuple[dict[str, tuple[str, ...]], int]:
    """The same from the file, and how many cells there are: cases × sweep × seeds."""
    order: dict[str, tuple[str, ...]] = {}
    if cases := [_table(case).get("name") for case in _list(asked.get("case"))]:
        order["case"] = tuple(json.dumps(name) for name in cases)
    for key, values in _table(asked.get("sweep")).items():
        order[key] = tuple(json.dumps(value, sort_keys=True) for value in _list(values))
    seeds = _list(_table(asked.get("run")).get("seeds")) or [0]
    return order, math.prod(len(values) for values in order.values()) * len(seeds)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
