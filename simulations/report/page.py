"""The page: sections composed and put through the template, as one self-contained file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from importlib.resources import files

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from simulations.report.attacks import Siege, attacks
from simulations.report.blocks import Section
from simulations.report.charts import STYLE, Chart, to_svg
from simulations.report.compare import comparison
from simulations.report.costs import costs
from simulations.report.forgotten import forgetting
from simulations.report.grid import Grid
from simulations.report.losses import losses
from simulations.report.run import Run
from simulations.report.setting import configuration, notes
from simulations.report.text import counted, marked
from simulations.report.tree import topology
from simulations.report.votes import rounds

TEMPLATE = files("simulations.report").joinpath("report.html.j2").read_text("utf-8")


def sections(
    run: Run, grid: Grid, attacked: Siege | None, shares: Mapping[str, float | None]
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


def render(run: Run, answers: Sequence[str], composed: Sequence[Section]) -> str:
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
