"""What an experiment is, and running it: from a TOML file to a folder of records.

``settings`` says what one simulated network is, ``sweep`` makes cells of an experiment, ``bundled``
has the experiments that come with the package, ``folder`` keeps a run on disk, ``run`` runs what is
not done yet. What a cell computes is ``simulations.world``'s; what its records show is
``simulations.report``'s.
"""

from __future__ import annotations

from simulations.experiment.bundled import bundled, first_sentence, load_experiment
from simulations.experiment.folder import Failure, Found
from simulations.experiment.run import Outcome, run_experiment
from simulations.experiment.settings import Settings
from simulations.experiment.sweep import Cell, Experiment, identify, read_experiment
from simulations.experiment.worker import RunCell, Tick

__all__ = [
    "Cell",
    "Experiment",
    "Failure",
    "Found",
    "Outcome",
    "RunCell",
    "Settings",
    "Tick",
    "bundled",
    "first_sentence",
    "identify",
    "load_experiment",
    "read_experiment",
    "run_experiment",
]
