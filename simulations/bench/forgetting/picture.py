"""A picture of the matrices: one panel for each learner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

LEAST = 0.05
"""Nats: what is forgotten less than this looks like nothing."""


def draw(result: Mapping[str, Any], path: Path) -> None:
    """Write the picture as PNG: held-out losses, coloured by how far above their best they are.

    A source that was not yet learned is grey. Needs matplotlib, of the extra ``simulations``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    systems = result["scale"]["systems"]
    groups = {"device": "one device", "children": "children, one after another"}
    panels = [(f"{title}: {n}", of) for g, title in groups.items() for n, of in result[g].items()]
    matrices = [np.array(of["matrix"]) for _, of in panels]
    learned = np.tri(len(systems), dtype=bool)
    risen = [
        np.where(learned, m - np.minimum.accumulate(np.where(learned, m, np.inf)), np.nan)
        for m in matrices
    ]
    most = max(LEAST, *(float(np.nanmax(of)) for of in risen))
    columns = 3
    rows = -(-len(panels) // columns)
    side = 0.62 * len(systems) + 1.2
    figure = Figure(figsize=(columns * side, rows * side), layout="constrained", dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, of), matrix, rise in zip(axes.flat, panels, matrices, risen, strict=False):
        image = axis.imshow(np.where(learned, rise, 0), cmap="Reds", vmin=0, vmax=most)
        axis.imshow(np.where(learned, np.nan, 0.2), cmap="Greys", vmin=0, vmax=1)
        for (i, j), loss in np.ndenumerate(matrix):
            dark = bool(learned[i, j]) and rise[i, j] > 0.6 * most
            grey = "0.45" if i < j else "black"
            axis.text(
                j, i, f"{loss:.2f}", ha="center", va="center", size=7, color="w" if dark else grey
            )
        axis.set_title(f"{title}\nforgotten {of['whole']['forgetting']:.3f} nats", size=9)
        axis.set_xticks(range(len(systems)), systems, rotation=40, ha="right", size=7)
        axis.set_yticks(range(len(systems)), systems, size=7)
        axis.set_xlabel("loss on", size=8)
        axis.set_ylabel("after learning", size=8)
    bar = figure.colorbar(image, ax=axes, shrink=0.6)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("above its best since it was learned, nats per token", size=8)
    figure.savefig(path)
