"""The forgetting matrix: losses after learning each source, and the field's measures of them."""

from __future__ import annotations

import itertools
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
ABOVE = "above its best"
OPEN = 6
LEAST_RISE = 0.05
"""A smaller rise is not coloured as if it mattered."""


@dataclass(frozen=True)
class Remembered:
    """One learner: the median matrix over seeds, and each measure over seeds.

    Where rows are not the columns in the same order there is ``above its best`` in place of the
    measures of a ``LossMatrix``, and nothing where a loss is not finite.
    """

    label: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    losses: NDArray[np.float64]
    measures: Mapping[str, Spread]


def remembered(grid: Grid) -> list[Remembered]:
    """Collect every named matrix of every group."""
    learners = []
    one_name = len({m.name for cell in grid.cells for m in cell.matrices}) == 1
    for group in grid.groups:
        named: dict[tuple[str, tuple[str, ...]], list[MatrixRecord]] = {}
        for matrix in (matrix for cell in group.cells for matrix in cell.matrices):
            named.setdefault((matrix.name, matrix.columns), []).append(matrix)
        for (name, columns), matrices in named.items():
            label = f"{group.label} · {name}"
            if one_name or len(grid.groups) == 1:
                label = group.label if len(grid.groups) > 1 else name
            # Seeds may differ in how long they went on; the rows that all of them have are shown.
            rows = _shared([matrix.rows for matrix in matrices])
            losses = np.median([_array(m)[: len(rows)] for m in matrices], axis=0)
            learners.append(Remembered(label, rows, columns, losses, _over_seeds(matrices)))
    return learners


def _array(matrix: MatrixRecord) -> NDArray[np.float64]:
    """The losses as (rows, columns) float64; NaN where one is null or missing."""
    losses = np.full((len(matrix.rows), len(matrix.columns)), np.nan)
    for (i, j), _ in np.ndenumerate(losses):
        row = matrix.losses[i] if i < len(matrix.losses) else ()
        loss = row[j] if j < len(row) else None
        losses[i, j] = math.nan if loss is None else loss
    return losses


def measured(matrix: MatrixRecord) -> LossMatrix | None:
    """Take the square part as a ``LossMatrix``, without rows before the first source.

    None where there is no such part or a loss is not finite.
    """
    count = len(matrix.columns)
    if not count or matrix.rows[-count:] != matrix.columns:
        return None
    losses = _array(matrix)[-count:]
    return LossMatrix(matrix.columns, losses) if np.isfinite(losses).all() else None


def above_best(matrix: MatrixRecord) -> float | None:
    """Compute how far the last row is above the best of each column, mean over columns.

    For a matrix that does not say which source each row learned; None where a loss is not finite.
    """
    losses = _array(matrix)
    if not losses.size or not np.isfinite(losses).all():
        return None
    return float((losses[-1] - losses.min(axis=0)).mean())


def _over_seeds(matrices: Sequence[MatrixRecord]) -> dict[str, Spread]:
    if square := [one for matrix in matrices if (one := measured(matrix)) is not None]:
        values = {
            AVERAGE: [one.average for one in square],
            TRANSFER: [one.backward_transfer for one in square],
            FORGETTING: [one.forgetting for one in square],
        }
    else:
        risen = [(m, rise) for m in matrices if (rise := above_best(m)) is not None]
        values = {
            AVERAGE: [float(_array(m)[-1].mean()) for m, _ in risen],
            ABOVE: [rise for _, rise in risen],
        }
    return {name: over for name, of_seeds in values.items() if (over := spread(of_seeds))}


def _shared(rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The beginning that all have in common."""
    same = itertools.takewhile(lambda names: len(set(names)) == 1, zip(*rows, strict=False))
    return tuple(names[0] for names in same)


def forgetting(grid: Grid) -> Section | None:
    """Show the measures of every learner first, then each matrix."""
    learners = remembered(grid)
    if not learners:
        return None
    measured_any = any(learner.measures for learner in learners)
    blocks: list[Block] = [_summary(learners)] if measured_any else []
    risen = np.concatenate([_risen(learner).ravel() for learner in learners])
    most = max(LEAST_RISE, float(risen[np.isfinite(risen)].max(initial=0.0)))
    tables = tuple(_matrix(learner, most) for learner in learners)
    blocks.append(Beside(tables[:OPEN]))
    if len(tables) > OPEN:
        blocks.append(Fold(f"{len(tables) - OPEN} more matrices", (Beside(tables[OPEN:]),)))
    text = (
        "A row is what was learned last, a column what the loss is measured on. Colour, the same "
        "in all matrices, says how far a loss has risen above its best since that source was "
        "learned; what is grey was not learned yet."
    )
    if any(FORGETTING in learner.measures for learner in learners):
        text += (
            " Backward transfer below zero means that earlier sources got worse; forgetting is the "
            "mean rise of earlier sources above their best."
        )
    if any(ABOVE in learner.measures for learner in learners):
        text += " “Above its best” is the mean rise of all at the end."
    return Section("forgetting", "Forgetting", text, tuple(blocks))


def _summary(learners: Sequence[Remembered]) -> Table:
    measures = dict.fromkeys(name for learner in learners for name in learner.measures)
    least = {
        name: min(one.measures[name].median for one in learners if name in one.measures)
        for name in measures
        if name != TRANSFER and len(learners) > 1
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
    learners = remembered(grid)
    for name in (FORGETTING, ABOVE):
        if some := [(one.label, one.measures[name]) for one in learners if name in one.measures]:
            return some
    return []


def _risen(learner: Remembered) -> NDArray[np.float64]:
    """How far each loss is above its best since its source was learned; 0 before."""
    learned = _learned(learner.rows, learner.columns)
    best = np.minimum.accumulate(np.where(learned, learner.losses, np.inf), axis=0)
    risen: NDArray[np.float64] = np.where(learned, learner.losses - best, 0.0)
    return risen


def _matrix(learner: Remembered, most: float) -> Table:
    learned, risen = _learned(learner.rows, learner.columns), _risen(learner)
    rows = []
    for i, name in enumerate(learner.rows):
        cells = []
        for j, loss in enumerate(learner.losses[i]):
            step = heat(1 - float(risen[i, j]) / most) if learned[i, j] else None
            cells.append(Td(figure(loss), heat=step, note="" if learned[i, j] else "early"))
        rows.append((name, tuple(cells)))
    return Table(("after learning", *learner.columns), tuple(rows), learner.label, over="loss on")


def _learned(rows: Sequence[str], columns: Sequence[str]) -> NDArray[np.bool_]:
    """Which source was learned by which row, by its name; all where names do not match."""
    if not set(columns) <= set(rows):
        return np.ones((len(rows), len(columns)), bool)
    return np.array([[rows.index(name) <= i for name in columns] for i in range(len(rows))])
