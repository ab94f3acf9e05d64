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
ABOVE = "above its best"
OPEN = 6
LEAST_RISE = 0.05
"""What is forgotten less than this is not coloured as if it mattered."""


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
    """Every named matrix of every group."""
    found = []
    alike = (
        len({m.name for group in grid.groups for cell in group.cells for m in cell.matrices}) == 1
    )
    for group in grid.groups:
        named: dict[tuple[str, tuple[str, ...]], list[MatrixRecord]] = {}
        for cell in group.cells:
            for matrix in cell.matrices:
                named.setdefault((matrix.name, matrix.columns), []).append(matrix)
        for (name, columns), of in named.items():
            label = f"{group.label} · {name}"
            if alike or len(grid.groups) == 1:
                label = group.label if len(grid.groups) > 1 else name
            # Seeds may differ in how long they went on; what all of them have is shown.
            rows = _shared([matrix.rows for matrix in of])
            stacked = np.stack([_array(matrix)[: len(rows)] for matrix in of])
            measures = _over_seeds(of)
            found.append(Remembered(label, rows, columns, np.median(stacked, axis=0), measures))
    return found


def _array(matrix: MatrixRecord) -> NDArray[np.float64]:
    shape = len(matrix.rows), len(matrix.columns)
    losses = np.full(shape, np.nan)
    for i, row in enumerate(matrix.losses[: shape[0]]):
        for j, loss in enumerate(row[: shape[1]]):
            losses[i, j] = math.nan if loss is None else loss
    return losses


def measured(matrix: MatrixRecord) -> LossMatrix | None:
    """The square part as a ``LossMatrix``: rows before the first source, such as the base, are cut.

    None where there is no such part or a loss is not finite.
    """
    count = len(matrix.columns)
    if not count or matrix.rows[-count:] != matrix.columns:
        return None
    losses = _array(matrix)[-count:]
    return LossMatrix(matrix.columns, losses) if np.isfinite(losses).all() else None


def above_best(matrix: MatrixRecord) -> float | None:
    """How far the last row is above the best of each column, mean over columns.

    For a matrix that does not say which source each row learned; None where a loss is not finite.
    """
    losses = _array(matrix)
    if not losses.size or not np.isfinite(losses).all():
        return None
    return float((losses[-1] - losses.min(axis=0)).mean())


def _over_seeds(matrices: Sequence[MatrixRecord]) -> dict[str, Spread]:
    square = [of for matrix in matrices if (of := measured(matrix)) is not None]
    if square:
        values = {
            AVERAGE: [m.average for m in square],
            TRANSFER: [m.backward_transfer for m in square],
            FORGETTING: [m.forgetting for m in square],
        }
    else:
        risen = [(m, rise) for m in matrices if (rise := above_best(m)) is not None]
        values = {
            AVERAGE: [float(_array(m)[-1].mean()) for m, _ in risen],
            ABOVE: [rise for _, rise in risen],
        }
    spreads = {name: spread(found) for name, found in values.items()}
    return {name: of for name, of in spreads.items() if of is not None}


def _shared(rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The beginning that all have in common."""
    shortest = min(rows, key=len)
    same = [all(of[n] == name for of in rows) for n, name in enumerate(shortest)]
    return shortest[: same.index(False)] if False in same else shortest


def forgetting(grid: Grid) -> Section | None:
    """Measures first, then each matrix."""
    found = remembered(grid)
    if not found:
        return None
    blocks: list[Block] = [_summary(found)] if any(of.measures for of in found) else []
    risen = np.concatenate([_risen(of).ravel() for of in found])
    most = max(LEAST_RISE, float(risen[np.isfinite(risen)].max(initial=0.0)))
    tables = tuple(_matrix(of, most) for of in found)
    blocks.append(Beside(tables[:OPEN]))
    if len(tables) > OPEN:
        blocks.append(Fold(f"{len(tables) - OPEN} more matrices", (Beside(tables[OPEN:]),)))
    text = (
        "A row is what was learned last, a column what the loss is measured on. Colour, the same "
        "in all matrices, says how far a loss has risen above its best since that source was "
        "learned; what is grey was not learned yet."
    )
    if any(FORGETTING in of.measures for of in found):
        text += (
            " Backward transfer below zero means that earlier sources got worse; forgetting is the "
            "mean rise of earlier sources above their best."
        )
    if any(ABOVE in of.measures for of in found):
        text += " “Above its best” is the mean rise of all at the end."
    return Section("forgetting", "Forgetting", text, tuple(blocks))


def _summary(found: Sequence[Remembered]) -> Table:
    measures = dict.fromkeys(name for of in found for name in of.measures)
    least = {
        name: min(of.measures[name].median for of in found if name in of.measures)
        for name in measures
        if name != TRANSFER
    }
    rows = []
    for of in found:
        cells = []
        for name in measures:
            value = of.measures.get(name)
            strong = len(found) > 1 and value is not None and value.median == least.get(name)
            cells.append(value.td(figure, strong=strong) if value else Td("–"))
        rows.append((of.label, tuple(cells)))
    return Table(("learner", *measures), tuple(rows), "At the end, over all sources")


def forgotten(grid: Grid) -> list[tuple[str, Spread]]:
    """Each learner with how much it forgets; empty where that was not measured."""
    measures = [(of.label, of.measures) for of in remembered(grid)]
    for name in (FORGETTING, ABOVE):
        if found := [(label, of[name]) for label, of in measures if name in of]:
            return found
    return []


def _risen(of: Remembered) -> NDArray[np.float64]:
    """How far each loss is above its best since its source was learned; 0 before."""
    learned = _learned(of.rows, of.columns)
    best = np.minimum.accumulate(np.where(learned, of.losses, np.inf), axis=0)
    risen: NDArray[np.float64] = np.where(learned, of.losses, 0.0) - np.where(learned, best, 0.0)
    return risen


def _matrix(of: Remembered, most: float) -> Table:
    learned, risen = _learned(of.rows, of.columns), _risen(of)
    rows = []
    for i, name in enumerate(of.rows):
        cells = []
        for j in range(len(of.columns)):
            loss = float(of.losses[i, j])
            step = heat(1 - float(risen[i, j]) / most) if learned[i, j] else None
            note = "" if learned[i, j] else "early"
            cells.append(Td(figure(loss), heat=step, note=note))
        rows.append((name, tuple(cells)))
    return Table(("after learning", *of.columns), tuple(rows), of.label, over="loss on")


def _learned(rows: Sequence[str], columns: Sequence[str]) -> NDArray[np.bool_]:
    """Which source was learned by which row, by its name; all where names do not match."""
    if not set(columns) <= set(rows):
        return np.ones((len(rows), len(columns)), bool)
    return np.array([[rows.index(name) <= i for name in columns] for i in range(len(rows))])
