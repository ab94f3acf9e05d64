"""What an experiment is: from a TOML file to cells, and the folder that keeps their records.

``settings`` says what one simulated network is, ``sweep`` makes cells of an experiment, ``bundled``
has the experiments that come with the package, ``folder`` keeps a run on disk. Nothing here knows
how a cell is computed; ``simulations.runner`` runs what is not done yet.
"""

from __future__ import annotations

from simulations.experiment.bundled import bundled, first_sentence, load_experiment
from simulations.experiment.folder import TakenOver
from simulations.experiment.settings import Settings
from simulations.experiment.sweep import Cell, Experiment, identify, read_experiment

__all__ = [
    "Cell",
    "Experiment",
    "Settings",
    "TakenOver",
    "bundled",
    "first_sentence",
    "identify",
    "load_experiment",
    "read_experiment",
]
