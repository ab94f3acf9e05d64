"""From a run's folder to its reports, each replaced in one step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nodes.state.home import write_file
from simulations.report.answer import answers
from simulations.report.attacks import retained, siege
from simulations.report.grid import arrange, choose_keys
from simulations.report.page import render, sections
from simulations.report.picture import draw
from simulations.report.run import read_run
from simulations.report.tables import results_csv, results_json
from simulations.report.text import counted


@dataclass(frozen=True)
class Report:
    """The files that were written, and what they say."""

    name: str
    finished: int
    expected: int
    answers: tuple[str, ...]
    html: Path
    png: Path
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
    grid, attacked, shares = arrange(run, *choose_keys(run)), siege(run), retained(run)
    sentences = answers(grid, attacked)
    report = Report(
        name=run.experiment.name,
        finished=len(run.cells),
        expected=run.expected,
        answers=sentences,
        html=folder / "report.html",
        png=folder / "report.png",
        csv=folder / "results.csv",
        json=folder / "results.json",
    )
    missing = f" ({counted(report.missing, 'cell')} missing)" if report.missing else ""
    outputs = {
        report.html: render(run, sentences, sections(run, grid, attacked, shares)).encode(),
        report.png: draw(f"{report.name}{missing}", grid, attacked),
        report.csv: results_csv(run, shares),
        report.json: results_json(run, shares, sentences),
    }
    for path, data in outputs.items():
        write_file(path, data)
    return report
