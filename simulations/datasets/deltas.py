"""Real adapter deltas: what twenty children learn from four organ systems, as a small fixture.

Each child trains SmolLM2 from nothing on its own 40 definitions of one system of the Human
Phenotype Ontology, five children a system. Kept are the 12,288 coordinates of one layer in the
middle (B of its query and value projections), as float16. Made once by
``python -m simulations.datasets.deltas``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).with_name("deltas.npz")
SYSTEMS = ("nervous", "cardiovascular", "eye", "immune")
CHILDREN, DOCUMENTS = 5, 40
_LAYER = "layers.15."


def real_deltas() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(20, 12288) float32, and for each child the number of its organ system."""
    with np.load(FILE) as stored:
        return stored["deltas"].astype(np.float32), stored["systems"].astype(np.int64)


def make(base: Path, file: Path = FILE) -> None:
    """Train the children and store what they learned: about twenty minutes on one core."""
    from nodes.model.base import load_base
    from nodes.model.basis import draw_basis
    from nodes.model.effective import EffectiveModel
    from nodes.model.layout import Layout
    from nodes.model.learner import TrainingRun, train
    from simulations.datasets.hpo import definitions

    layout = Layout.of_model(load_base(base)[0], ("q_proj", "v_proj"), 16)
    model = EffectiveModel(base, layout, draw_basis(layout, 0))
    middle = [part for layer, part in layout.parts() if _LAYER in layer.name]
    settings = TrainingRun(
        steps=20, batch_size=4, learning_rate=6e-3, max_tokens=96, rank=16, seed=0
    )
    deltas: list[NDArray[np.float32]] = []
    systems: list[int] = []
    for number, system in enumerate(SYSTEMS):
        texts = definitions(system)
        for child in range(CHILDREN):
            own = texts[child * DOCUMENTS : (child + 1) * DOCUMENTS]
            start = np.zeros(layout.size, np.float32)
            learned = train(model, start, own, replace(settings, seed=len(deltas)))
            deltas.append(np.concatenate([learned.delta[part] for part in middle]))
            systems.append(number)
    np.savez_compressed(
        file, deltas=np.array(deltas, np.float16), systems=np.array(systems, np.int64)
    )


if __name__ == "__main__":
    from simulations.datasets.smollm2 import smollm2_base

    make(smollm2_base(Path("runs/base")))
