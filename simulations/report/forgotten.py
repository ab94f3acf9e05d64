"""The forgetting matrix: losses after learning each source, and the field's measures of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulations.forgetting import LossMatrix
from simulations.records import MatrixRecord
from simulations.report.blocks import Beside, Block, Fold, Section, Table, Td, heat
from simulations.report.grid import Grid, Spread, spread
from simulations.report.text import figure

AVERAGE, TRANSFER, FORGETTING = "average loss", "backward transfer", "forgetting"
OPEN = 6
LEAST_RISE = 0.05
"""A smaller rise is not coloured as if it mattered."""


@dataclass(frozen=True)
class Remembered:
    """One learner: the median matrix over seeds, (n, n), and each measure over seeds.

    There are no measures where a loss is not finite.
    """

    label: str
    sources: tuple[str, ...]
    losses: NDArray[np.float64]
    measures: Mapping[str, Spread]


def remembered(grid: Grid) -> list[Remembered]:
    """Collect every named matrix of every group."""
    learners = []
    one_name = len({m.name for cell in grid.cells for m in cell.matrices}) == 1
    for group in grid.groups:
        named: dict[tuple[str, tuple[str, ...]], list[MatrixRecord]] = {}
        for matrix in (matrix for cell in group.cells for matrix in cell.matrices):
            named.setdefault((matrix.name, matrix.sources), []).append(matrix)
        for (name, sources), matrices in named.items():
            label = f"{group.label} · {name}"
            if one_name or len(grid.groups) == 1:
                label = group.label if len(grid.groups) > 1 else name
            losses = np.median([_array(matrix) for matrix in matrices], axis=0)
            learners.append(Remembered(label, sources, losses, _over_seeds(matrices)))
    return learners


def _array(matrix: MatrixRecord) -> NDArray[np.float64]:
    """The losses as (n, n) float64; NaN where one is null."""
    return np.array(matrix.losses, float)


def measured(matrix: MatrixRecord) -> LossMatrix | None:
    """Give the matrix what measures it; None where a loss is not finite."""
    losses = _array(matrix)
    return LossMatrix(matrix.sources, losses) if np.isfinite(losses).all() else None


def _over_seeds(matrices: Sequence[MatrixRecord]) -> dict[str, Spread]:
    finite = [one for matrix in matrices if (one := measured(matrix)) is not None]
    values = {
        AVERAGE: [one.average for one in finite],
        TRANSFER: [one.backward_transfer for one in finite],
        FORGETTING: [one.forgetting for one in finite],
    }
    return {name: over for name, of_seeds in values.items() if (over := spread(of_seeds))}


def forgetting(grid: Grid) -> Section | None:
    """Show the measures of every learner first, then each matrix."""
    learners = remembered(grid)
    if not learners:
        return None
    blocks: list[Block] = [_summary(learners)] if any(one.measures for one in learners) else []
    risen = [rise for one in learners for rise in _risen(one).flat if math.isfinite(rise)]
    tables = tuple(_matrix(learner, max(LEAST_RISE, *risen)) for learner in learners)
    blocks.append(Beside(tables[:OPEN]))
    if len(tables) > OPEN:
        blocks.append(Fold(f"{len(tables) - OPEN} more matrices", (Beside(tables[OPEN:]),)))
    text = (
        "A row is what was learned last, a column what the loss is measured on. Colour, the same "
        "in all matrices, says how far a loss has risen above its best since that source was "
        "learned; what is grey was not learned yet. Backward transfer below zero means that "
        "earlier sources got worse; forgetting is the mean rise of earlier sources above their "
        "best."
    )
    return Section("forgetting", "Forgetting", text, tuple(blocks))


def _summary(learners: Sequence[Remembered]) -> Table:
    measures = (AVERAGE, TRANSFER, FORGETTING)
    least = {
        name: min(one.measures[name].median for one in learners if one.measures)
        for name in (AVERAGE, FORGETTING)
        if len(learners) > 1
    }
    rows = []
    for learner in learners:
        cells = []
        for name in measures:
            value = learner.measures.get(name)
            strong = value is not None and value.median == least.get(name)
            cells.append(value.td(figure, strong=strong) if value else Td("–"))
        rows.append((learner.label, tuple(cells)))
    return Table(("learner", *measures), tuple(rows), "At the end, over all sources")


def forgotten(grid: Grid) -> list[tuple[str, Spread]]:
    """List each learner with how much it forgets; empty where that was not measured."""
    return [(one.label, one.measures[FORGETTING]) for one in remembered(grid) if one.measures]


def _risen(learner: Remembered) -> NDArray[np.float64]:
    """How far each loss is above its best since its source was learned, (n, n); 0 before."""
    learned = np.tri(len(learner.sources), dtype=bool)
    best = np.minimum.accumulate(np.where(learned, learner.losses, np.inf), axis=0)
    risen: NDArray[np.float64] = np.where(learned, learner.losses - best, 0.0)
    return risen


def _matrix(learner: Remembered, most: float) -> Table:
    risen = _risen(learner)
    rows = []
    for i, name in enumerate(learner.sources):
        cells = []
        for j, loss in enumerate(learner.losses[i]):
            step = heat(1 - float(risen[i, j]) / most) if j <= i else None
            cells.append(Td(figure(loss), heat=step, note="" if j <= i else "early"))
        rows.append((name, tuple(cells)))
    return Table(("after learning", *learner.sources), tuple(rows), learner.label, over="loss on")
