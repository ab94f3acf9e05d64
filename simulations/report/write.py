"""From a run's folder to its reports, each replaced in one step."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from simulations.report.page import find, render
from simulations.report.picture import draw
from simulations.report.run import read_run
from simulations.report.tables import to_csv, to_json


@dataclass(frozen=True)
class Report:
    """What was written; ``png`` is None without matplotlib (of the extra ``simulations``)."""

    name: str
    finished: int
    expected: int
    answers: tuple[str, ...]
    html: Path
    png: Path | None
    csv: Path
    json: Path

    @property
    def missing(self) -> int:
        """Cells that are not finished."""
        return self.expected - self.finished


def write_report(folder: Path) -> Report:
    """Read a run and write its four reports beside its records.

    Nothing is written unless everything could be read. Raises ``NodeError``: ``no-run`` when the
    folder holds no experiment, ``bad-record`` with file and line for a damaged record.
    """
    run = read_run(folder)
    found = find(run)
    picture = draw(found)
    outputs = {
        "report.html": render(found).encode(),
        "results.csv": to_csv(run, found.kept).encode(),
        "results.json": to_json(run, found.kept, found.answers).encode(),
    }
    if picture is not None:
        outputs["report.png"] = picture
    for name, data in outputs.items():
        _replace(folder / name, data)
    return Report(
        name=run.experiment.name,
        finished=len(run.cells),
        expected=run.expected,
        answers=found.answers,
        html=folder / "report.html",
        png=folder / "report.png" if picture is not None else None,
        csv=folder / "results.csv",
        json=folder / "results.json",
    )


def _replace(path: Path, data: bytes) -> None:
    # The process's number keeps two writers out of each other's file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
