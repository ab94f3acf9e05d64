"""A run's folder, read: what the experiment asks, and a summary of every finished cell.

``experiment.toml`` is the experiment as it was given; ``experiment.json`` is the same with the
command line's changes: name, question, ``compare``, ``versions``, and every cell in order. Without
the latter the cells are counted from cases, sweep and seeds. ``cells/ID.failed.json`` says why a
cell failed.
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

PART, FAILED = ".part.jsonl", ".failed.json"


@dataclass(frozen=True)
class Experiment:
    """What was asked.

    Attributes:
        changes: settings that the command line set.
        cells: the name of every cell by its id; empty without ``experiment.json``.
        expected: how many cells there are to be.
        order: for each varied setting its values in order, as JSON.
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
        """Sort the values of a setting: as in the file, else by size, else by name."""
        as_json = _json(value)
        values = self.order.get(key, ())
        place = values.index(as_json) if as_json in values else len(values)
        size = float(value) if isinstance(value, int | float) else math.inf
        return place, size, as_json


@dataclass(frozen=True)
class Run:
    """A folder at one moment.

    Attributes:
        cells: finished cells, in order.
        missing: the names of cells that are not finished.
        failed: (name, reason) of cells that failed.
        begun: how many cells have begun, and neither finished nor failed.
        unknown: records of kinds that this report does not know.
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
    begun: set[str] = set()
    for path in sorted((folder / "cells").glob("*.jsonl")):
        if path.name.endswith(PART):
            begun.add(path.name.removesuffix(PART))
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
    failed = {path.name.removesuffix(FAILED): path for path in folder.glob(f"cells/*{FAILED}")}
    reasons = [_read_json(failed[id_]) for id_ in sorted(failed.keys() - done)]
    return Run(
        experiment=experiment,
        cells=tuple(cells),
        missing=tuple(name for id_, name in experiment.cells.items() if id_ not in done),
        failed=tuple((str(why.get("name", "")), str(why.get("sentence", ""))) for why in reasons),
        begun=len(begun - done - failed.keys()),
        unknown=unknown,
    )


def tree_shape(topology: TopologyRecord) -> tuple[object, ...]:
    """Reduce a tree to what it looks like: tiers, scopes, and how many attackers there are."""
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
        asked = tomllib.loads(text)
    except FileNotFoundError:
        raise NodeError("no-run", f"{folder} holds no run: it has no experiment.toml.") from None
    except UnicodeDecodeError as error:
        raise NodeError("bad-record", f"{source} is not UTF-8: {error}.") from None
    except tomllib.TOMLDecodeError as error:
        raise NodeError("bad-record", f"{source} is not valid TOML: {error}.") from None
    resolved = _read_json(folder / "experiment.json")
    both = {**asked, **resolved}
    cells = [_table(cell) for cell in _list(resolved.get("cells"))]
    order, expected = _order_of_file(asked)
    return Experiment(
        name=str(both.get("name", folder.name)),
        question=str(both.get("question", "")).strip(),
        compare=tuple(str(key) for key in _list(both.get("compare"))),
        toml=text,
        quick=resolved.get("quick") is True,
        changes=_table(resolved.get("set")),
        versions={str(k): str(v) for k, v in _table(resolved.get("versions")).items()},
        cells={str(c["id"]): str(c.get("name", c["id"])) for c in cells if "id" in c},
        expected=len(cells) or expected,
        order=_order_of_cells(cells) or order,
    )


def _read_json(path: Path) -> Mapping[str, Any]:
    """Read a file's table; empty without the file."""
    try:
        return _table(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise NodeError("bad-record", f"{path} is not JSON: {error}.") from None


def _order_of_cells(cells: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """The values of every varied setting in the order in which cells have them."""
    order: dict[str, dict[str, None]] = {}
    for cell in cells:
        for key, value in _table(cell.get("vary")).items():
            order.setdefault(key, {})[_json(value)] = None
    return {key: tuple(values) for key, values in order.items()}


def _order_of_file(asked: Mapping[str, Any]) -> tuple[dict[str, tuple[str, ...]], int]:
    """The same from the file, and how many cells there are: cases × sweep × seeds."""
    order: dict[str, tuple[str, ...]] = {}
    if cases := [_table(case).get("name") for case in _list(asked.get("case"))]:
        order["case"] = tuple(map(_json, cases))
    for key, values in _table(asked.get("sweep")).items():
        order[key] = tuple(map(_json, _list(values)))
    seeds = _list(_table(asked.get("run")).get("seeds")) or [0]
    return order, math.prod(map(len, order.values())) * len(seeds)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
