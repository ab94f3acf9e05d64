"""An experiment: a TOML file and what the command line sets, read into an ordered list of cells.

Cells are cases × swept values × seeds, in the order of the file. A cell's id is a digest of its
resolved settings and nothing else: neither of names nor of how the file says it. Every mistake is
reported with its place before anything runs.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from nodes.config.files import mistakes
from nodes.config.sections import Section
from nodes.errors import NodeError
from simulations.experiment.paths import PathError, Table, flatten, is_within, overlap, put
from simulations.experiment.settings import BASES, Settings
from simulations.store import digest

CASE, SEED = "case", "seed"
_HEADER = ("name", "question", "compare", "sweep", "case", "quick")
"""What a file says beside settings."""
_NAMED = 3
"""Of cells that are the same so many are named."""


@dataclass(frozen=True)
class Cell:
    """One simulation.

    Attributes:
        id: twelve hexadecimal digits.
        name: for a person: what it varies, and the seed.
        vary: dotted path -> value, with ``case`` (if there are cases) and ``seed``.
        settings: resolved, with one seed.
    """

    id: str
    name: str
    vary: Mapping[str, Any]
    settings: Settings

    @property
    def seed(self) -> int:
        """Everything that is drawn follows from it."""
        return self.settings.seed

    @property
    def cost(self) -> int:
        """What the cell takes, relative to others: rounds of devices."""
        return self.settings.topology.device_count * self.settings.run.rounds


@dataclass(frozen=True)
class Experiment:
    """A file, read.

    Attributes:
        compare: what of the cells' ``vary`` a report lays out in rows and columns, if said.
        text: the file as it was given.
        quick: whether its small version was asked for.
        overrides: dotted path -> value, as the command line set them.
        workers: cells to run at once, 0 for as many as there are cores.
    """

    name: str
    question: str
    compare: tuple[str, ...]
    text: str
    cells: tuple[Cell, ...]
    quick: bool
    overrides: Mapping[str, Any]
    workers: int


class _Case(Section):
    name: str = Field(min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)


class _Header(Section):
    """The file without its settings; ``sweep`` by dotted path."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=64)
    question: str = Field(min_length=1)
    compare: tuple[str, ...] = ()
    sweep: dict[str, list[Any]] = Field(default_factory=dict)
    case: tuple[_Case, ...] = ()

    @field_validator("sweep")
    @classmethod
    def _values(cls, sweep: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if empty := [path for path, values in sweep.items() if not values]:
            raise ValueError(f"no value for {', '.join(empty)}")
        return sweep

    @field_validator("case")
    @classmethod
    def _names_differ(cls, cases: tuple[_Case, ...]) -> tuple[_Case, ...]:
        if len({case.name for case in cases}) != len(cases):
            raise ValueError("two cases have the same name")
        return cases


def read_experiment(
    text: str,
    where: str = "The experiment",
    *,
    folder: Path | None = None,
    quick: bool = False,
    overrides: Mapping[str, Any] | None = None,
) -> Experiment:
    """Read an experiment's file.

    Args:
        text: TOML.
        where: what messages call the file.
        folder: what the path of a base is relative to; the current one if not given.
        quick: apply the file's ``[quick]`` table first.
        overrides: dotted path -> value. They win over cases and sweeps: a path that is set is
            swept no longer. Paths may begin with ``sweep`` or ``case``.

    Raises:
        NodeError: ``bad-experiment`` with the place of each mistake.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NodeError("bad-experiment", f"{where} is not valid TOML: {error}.") from None
    try:
        return _read(raw, text, folder or Path(), quick, overrides or {})
    except (_Mistakes, PathError) as error:
        what = "; ".join(error.args)
        raise NodeError("bad-experiment", f"{where} has mistakes: {what}.") from None


class _Mistakes(Exception):
    """Its arguments are sentences, each with a place."""


def _read(
    raw: Table, text: str, folder: Path, quick: bool, overrides: Mapping[str, Any]
) -> Experiment:
    pins = _overridden(raw, quick, overrides)
    header = _header(raw)
    axes = {
        path: values
        for path, values in header.sweep.items()
        if not any(is_within(path, pin) for pin in pins)
    }
    _check_compare(header)
    base = {key: value for key, value in raw.items() if key not in _HEADER}
    cells = _cells(_points(base, header.case, axes, pins), folder)
    varied = {path for cell in cells for path in cell.vary}
    return Experiment(
        name=header.name,
        question=" ".join(header.question.split()),
        compare=tuple(path for path in header.compare if path in varied),
        text=text,
        cells=cells,
        quick=quick,
        overrides=dict(overrides),
        workers=cells[0].settings.run.workers,
    )


def _overridden(raw: Table, quick: bool, overrides: Mapping[str, Any]) -> Table:
    """Apply what is overridden to the file, in place; gives what wins over cases and sweeps."""
    small = raw.get("quick", {})
    if not isinstance(small, dict):
        raise _Mistakes("quick: Input should be a table")
    if quick and not small:
        raise _Mistakes("quick: there is no small version of this experiment")
    if not isinstance(swept := raw.setdefault("sweep", {}), dict):
        raise _Mistakes("sweep: Input should be a table")
    swept = raw["sweep"] = dict(flatten(swept))  # by path, in the order of the file
    pins: Table = {}
    first = dict(flatten(small)) if quick else {}
    for path, value in itertools.chain(first.items(), overrides.items()):
        head, _, rest = path.partition(".")
        if head == "sweep":
            swept[rest] = value
            pins.pop(rest, None)
            continue
        put(raw, path, value)
        if head not in _HEADER:
            pins[path] = value
    return pins


def _header(raw: Table) -> _Header:
    header = {key: value for key, value in raw.items() if key in _HEADER and key != "quick"}
    if isinstance(header.get("case"), list):
        header["case"] = [_case(case) for case in header["case"]]
    try:
        return _Header.model_validate(header)
    except ValidationError as error:
        raise _Mistakes(*mistakes(error)) from None


def _case(raw: Any) -> Any:
    if not isinstance(raw, dict):
        return raw
    named = {"name": raw["name"]} if "name" in raw else {}
    settings = {path: value for path, value in flatten(raw) if path != "name"}
    return named | {"settings": settings}


def _check_compare(header: _Header) -> None:
    known = {SEED, *header.sweep, *([CASE] if header.case else [])}
    if strangers := [path for path in header.compare if path not in known]:
        raise _Mistakes(f"compare: cells do not vary in {', '.join(strangers)}")
    for case in header.case:
        for path in case.settings:
            if both := [swept for swept in header.sweep if overlap(path, swept)]:
                raise _Mistakes(f"sweep.{both[0]}: case {case.name} sets it too")


def _points(
    base: Table, cases: tuple[_Case, ...], axes: Mapping[str, list[Any]], pins: Mapping[str, Any]
) -> Iterator[tuple[Table, Table]]:
    """For each cell but for its seed: what it varies, and its settings, unchecked.

    Args:
        base: what all cells share.
        axes: path -> the values that are swept.
        pins: what wins at the end.
    """
    for case in cases or (None,):
        for values in itertools.product(*axes.values()):
            swept = dict(zip(axes, values, strict=True))
            settings = deepcopy(base)
            for layer in (case.settings if case else {}, swept, pins):
                for path, value in layer.items():
                    put(settings, path, value)
            yield ({CASE: case.name} if case else {}) | swept, settings


def _cells(points: Iterable[tuple[Table, Table]], folder: Path) -> tuple[Cell, ...]:
    cells: list[Cell] = []
    wrong: dict[str, list[str]] = {}
    count = 0
    for count, (vary, raw) in enumerate(points, 1):  # noqa: B007  used below
        try:
            settings = _resolve(Settings.model_validate(raw), folder)
        except (ValidationError, _Mistakes) as error:
            texts = error.args if isinstance(error, _Mistakes) else mistakes(error)
            for mistake in texts:
                wrong.setdefault(mistake, []).append(_name(vary))
        else:
            cells += [_cell(vary, settings, seed) for seed in settings.run.seeds]
    if wrong:
        raise _Mistakes(*(_with_cells(mistake, names, count) for mistake, names in wrong.items()))
    _refuse_twins(cells)
    return tuple(cells)


def _cell(vary: Table, settings: Settings, seed: int) -> Cell:
    run = settings.run.model_copy(update={"seeds": (seed,)})
    settings, vary = settings.model_copy(update={"run": run}), vary | {SEED: seed}
    return Cell(identify(settings), _name(vary), vary, settings)


def identify(settings: Settings) -> str:
    """A cell's id: a digest of what decides its results."""
    where = {"workers", "processes", "folder"}
    return digest(settings.model_dump(mode="json", exclude={"run": where}))


def _resolve(settings: Settings, folder: Path) -> Settings:
    """Make the path of a base absolute. Raises ``_Mistakes`` when there is none."""
    kind = settings.model.kind
    if kind in BASES:
        return settings
    base = (folder / kind).resolve()
    if not (base / "config.json").is_file():
        raise _Mistakes(f"model.kind: {kind} is none of {', '.join(BASES)}, nor a base's folder")
    return settings.model_copy(
        update={"model": settings.model.model_copy(update={"kind": str(base)})}
    )


def _refuse_twins(cells: list[Cell]) -> None:
    first: dict[str, str] = {}
    twins = []
    for cell in cells:
        if cell.id in first:
            twins.append(f"{first[cell.id]} and {cell.name} have the same settings")
        first.setdefault(cell.id, cell.name)
    if len(twins) > _NAMED:
        twins[_NAMED:] = [f"and so have {len(twins) - _NAMED} more"]
    if twins:
        raise _Mistakes(*twins)


def _with_cells(mistake: str, names: list[str], count: int) -> str:
    """A mistake with the cells that have it, unless all ``count`` do."""
    if len(names) == count:
        return mistake
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{mistake} (in {names[0]}{more})"


def _name(vary: Mapping[str, Any]) -> str:
    return ", ".join(
        str(value) if path == CASE else f"{path}={_short(value)}" for path, value in vary.items()
    )


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(_short(item) for item in value)
    if isinstance(value, Mapping):
        return " ".join(f"{key}={_short(item)}" for key, item in flatten(value))
    return str(value).lower() if isinstance(value, bool) else str(value)
