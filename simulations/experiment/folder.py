"""A run's folder: what was asked, and the records of every cell, so that a run can go on.

    experiment.toml       as it was given
    experiment.json       resolved: every cell with its settings, and the versions that run it
    cells/ID.jsonl        the records of a finished cell, one a line
    cells/ID.part.jsonl   of one that is running, was interrupted or failed
    cells/ID.failed.json  why it failed
    aside/                cells that the experiment no longer has

A file under its last name is whole. Nothing is deleted but what is made anew.
"""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from pydantic import ValidationError

from nodes.errors import NodeError
from nodes.machine.files import write_file
from simulations.experiment.sweep import Cell, Experiment
from simulations.records import (
    CellRecord,
    ExperimentRecord,
    FailureRecord,
    Record,
    Recorder,
    to_line,
)

_DONE, _PART, _FAILED = ".jsonl", ".part.jsonl", ".failed.json"
_PACKAGES = {"banyan": "banyan-fl", "flwr": "flwr", "torch": "torch", "numpy": "numpy"}


@dataclass(frozen=True)
class TakenOver:
    """What of the folder's cells the experiment can use.

    Attributes:
        done: finished cells that need not run again.
        aside: cells, finished or not, that the experiment has no longer: moved to ``aside``.
        back: cells that it has again, moved back from there.
        older: versions by name, then and now, where the finished cells were made with another.
    """

    done: int
    aside: int
    back: int
    older: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class RunFolder:
    """The folder of one experiment, made by ``opened``."""

    path: Path

    @property
    def cells(self) -> Path:
        """Where records are."""
        return self.path / "cells"

    def is_done(self, cell: Cell) -> bool:
        """Whether the cell's records are whole."""
        return (self.cells / f"{cell.id}{_DONE}").exists()

    @contextmanager
    def writing(self, cell: Cell) -> Iterator[Recorder]:
        """Stream the records of a cell to disk; they count once the block ends without an error.

        The first record says what the cell is. Every line is on its way to the disk before the
        next is made.
        """
        part = self.cells / f"{cell.id}{_PART}"
        with part.open("w", encoding="utf-8") as file:

            def write(record: Record) -> None:
                file.write(f"{to_line(record)}\n")
                file.flush()

            write(_record_of(cell, versions()))
            yield write
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.cells / f"{cell.id}{_DONE}")
        (self.cells / f"{cell.id}{_FAILED}").unlink(missing_ok=True)

    def fail(self, failure: FailureRecord) -> None:
        """Write why a cell failed; what it recorded until then stays in its part file."""
        body = failure.model_dump_json(indent=2)
        write_file(self.cells / f"{failure.id}{_FAILED}", body.encode())


@contextmanager
def opened(path: Path, experiment: Experiment) -> Iterator[tuple[RunFolder, TakenOver]]:
    """The folder for a run of ``experiment``, held so that no other run writes to it.

    Raises:
        NodeError: ``not-an-experiment`` when it holds something else, ``run-busy``.
    """
    folder = RunFolder(path)
    if path.exists() and not _is_ours(path):
        raise NodeError("not-an-experiment", f"{path} holds something else; choose another --out.")
    folder.cells.mkdir(parents=True, exist_ok=True)
    with _locked(path / ".lock"):
        yield folder, _taken_over(folder, experiment)


def versions() -> dict[str, str]:
    """Of what results depend on beside the settings."""
    packages = {name: version(package) for name, package in _PACKAGES.items()}
    return packages | {"python": platform.python_version()}


def finished(path: Path, cells: Iterable[Cell]) -> set[str]:
    """The ids of the cells whose records are in a folder, which need not be there."""
    folder = RunFolder(path)
    return {cell.id for cell in cells if folder.is_done(cell)}


def _taken_over(folder: RunFolder, experiment: Experiment) -> TakenOver:
    """Sort the folder's cells into those of the experiment and others, and write down what runs."""
    ids = {cell.id for cell in experiment.cells}
    aside = folder.path / "aside"
    away = [file for file in _files(folder.cells) if _id(file) not in ids]
    back = [file for file in _files(aside) if _id(file) in ids]
    if away:
        aside.mkdir(exist_ok=True)
    for file in away:
        file.replace(aside / file.name)
    for file in back:
        file.replace(folder.cells / file.name)
    done = len(finished(folder.path, experiment.cells))
    before = _earlier_versions(folder.path) if done else {}
    now = versions()
    _describe(folder.path, experiment, now)
    return TakenOver(
        done=done,
        aside=len({_id(file) for file in away}),
        back=len({_id(file) for file in back}),
        older={name: (was, now[name]) for name, was in before.items() if now.get(name, was) != was},
    )


def _describe(path: Path, experiment: Experiment, now: Mapping[str, str]) -> None:
    resolved = ExperimentRecord(
        name=experiment.name,
        question=experiment.question,
        compare=tuple(experiment.compare),
        quick=experiment.quick,
        set=dict(experiment.overrides),
        versions=dict(now),
        cells=tuple(_record_of(cell, {}) for cell in experiment.cells),
    )
    write_file(path / "experiment.toml", experiment.text.encode())
    text = resolved.model_dump_json(indent=1, exclude={"cells": {"__all__": {"kind", "versions"}}})
    write_file(path / "experiment.json", text.encode())


def _record_of(cell: Cell, versions: Mapping[str, str]) -> CellRecord:
    return CellRecord(
        id=cell.id,
        name=cell.name,
        vary=dict(cell.vary),
        settings=cell.settings.model_dump(mode="json"),
        versions=dict(versions),
    )


def _earlier_versions(path: Path) -> dict[str, str]:
    try:
        earlier = ExperimentRecord.model_validate_json((path / "experiment.json").read_bytes())
    except (OSError, ValidationError):
        return {}  # it is written anew; cells say their own versions
    return earlier.versions


def _is_ours(path: Path) -> bool:
    return path.is_dir() and ((path / "cells").is_dir() or not any(path.iterdir()))


def _files(folder: Path) -> list[Path]:
    """The files of cells in a folder, sorted; none when it is not there."""
    return sorted(file for file in folder.glob("*.json*") if not file.name.startswith("."))


def _id(file: Path) -> str:
    return file.name.partition(".")[0]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NodeError("run-busy", f"Another run writes to {path.parent}.") from None
        yield
    finally:
        os.close(descriptor)
