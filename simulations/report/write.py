"""From a run's folder to its reports: one self-contained page, a picture, and tables."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from nodes.machine.files import write_file
from simulations.report.answer import answers
from simulations.report.attacks import Siege, attacks, retained, siege
from simulations.report.blocks import Section
from simulations.report.charts import STYLE, Chart, to_svg
from simulations.report.compare import comparison
from simulations.report.costs import costs
from simulations.report.forgotten import forgetting
from simulations.report.grid import Grid, arrange, choose_keys
from simulations.report.losses import losses
from simulations.report.picture import draw
from simulations.report.run import RunSummary, read_run
from simulations.report.setting import configuration, notes
from simulations.report.tables import results_csv, results_json
from simulations.report.text import counted, marked
from simulations.report.tree import topology
from simulations.report.votes import rounds

TEMPLATE = files("simulations.report").joinpath("report.html.j2").read_text("utf-8")


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
        report.html: _render(run, sentences, _sections(run, grid, attacked, shares)).encode(),
        report.png: draw(f"{report.name}{missing}", grid, attacked),
        report.csv: results_csv(run, shares),
        report.json: results_json(run, shares, sentences),
    }
    for path, data in outputs.items():
        write_file(path, data)
    return report


def _sections(
    run: RunSummary, grid: Grid, attacked: Siege | None, shares: Mapping[str, float | None]
) -> list[Section]:
    """Compose the sections for which there are records."""
    if not run.cells:
        return [configuration(run)]
    every = (
        comparison(grid, run, shares),
        attacks(attacked) if attacked else None,
        topology(grid),
        losses(grid),
        rounds(grid),
        forgetting(grid),
        costs(grid),
        notes(run),
        configuration(run),
    )
    return [section for section in every if section is not None]


def _render(run: RunSummary, answers: Sequence[str], composed: Sequence[Section]) -> str:
    """Write the HTML of a run."""
    environment = Environment(
        # A name out of a TOML file must never become markup.
        autoescape=True,
        loader=DictLoader({"page": TEMPLATE}),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = itertools.count()

    def svg(chart: Chart) -> Markup:
        return to_svg(chart, next(numbers))

    missing = run.expected - len(run.cells)
    unfinished = ""
    if missing:
        begun = f", {run.begun:,} of them begun" if run.begun else ""
        begun += f", {len(run.failures):,} of them failed" if run.failures else ""
        unfinished = (
            f"Unfinished: {counted(missing, 'cell')} of {run.expected:,} not finished yet{begun}. "
            "Figures are of the others."
        )
    seeds = {str(cell.vary["seed"]) for cell in run.cells if "seed" in cell.vary}
    return environment.get_template("page").render(
        name=run.experiment.name,
        question=marked(run.experiment.question),
        answers=answers,
        unfinished=unfinished,
        facts=[
            *(["small version (--quick)"] if run.experiment.quick else []),
            counted(len(run.cells), "finished cell"),
            *([counted(len(seeds), "seed")] if seeds else []),
        ],
        sections=composed,
        style=STYLE,
        svg=svg,
    )
