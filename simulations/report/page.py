"""The page: sections composed and put through the template, as one self-contained file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined

from simulations.report.answer import answers
from simulations.report.attacks import attacks, retained, siege
from simulations.report.blocks import Section
from simulations.report.compare import comparison, every_cell
from simulations.report.costs import costs
from simulations.report.forgotten import forgetting
from simulations.report.grid import Grid, arrange, choose_keys
from simulations.report.losses import losses
from simulations.report.run import Run
from simulations.report.setting import notes, setting
from simulations.report.text import counted, marked
from simulations.report.tree import topology
from simulations.report.votes import rounds

HERE = files("simulations.report")


@dataclass(frozen=True)
class Findings:
    """A run, arranged, and what its figures say."""

    run: Run
    grid: Grid
    answers: tuple[str, ...]
    kept: dict[str, float | None]


def find(run: Run) -> Findings:
    """Arrange the cells and put the figures into words."""
    grid = arrange(run, *choose_keys(run))
    return Findings(run, grid, tuple(answers(grid, siege(run))), retained(run))


def sections(found: Findings) -> list[Section]:
    """Those for which there are records."""
    run, grid = found.run, found.grid
    if not run.cells:
        return [setting(run)]
    compared = comparison(grid)
    blocks = (*compared.blocks, every_cell(run, found.kept))
    maybe = (
        Section(compared.id, compared.title, compared.text, blocks),
        attacks(run),
        topology(grid),
        losses(grid),
        rounds(grid),
        forgetting(grid),
        costs(grid),
        notes(run),
        setting(run),
    )
    return [section for section in maybe if section is not None]


def render(found: Findings) -> str:
    """The HTML of a run."""
    run = found.run
    environment = Environment(
        # A name out of a TOML file must never become markup.
        autoescape=True,
        loader=DictLoader({"page": HERE.joinpath("report.html.j2").read_text("utf-8")}),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    missing = run.expected - len(run.cells)
    unfinished = ""
    if missing:
        begun = f", {run.begun:,} of them begun" if run.begun else ""
        begun += f", {len(run.failed):,} of them failed" if run.failed else ""
        unfinished = (
            f"Unfinished: {counted(missing, 'cell')} of {run.expected:,} not finished yet{begun}. "
            "Figures are of the others."
        )
    seeds = {str(cell.vary["seed"]) for cell in run.cells if "seed" in cell.vary}
    return environment.get_template("page").render(
        name=run.experiment.name,
        question=marked(run.experiment.question),
        answers=found.answers,
        unfinished=unfinished,
        facts=[
            *(["small version (--quick)"] if run.experiment.quick else []),
            counted(len(run.cells), "finished cell"),
            *([counted(len(seeds), "seed")] if seeds else []),
        ],
        sections=sections(found),
        style=HERE.joinpath("report.css").read_text("utf-8"),
    )
