"""Runs experiments: ``run`` what is not done yet, ``progress`` shows it, ``cli`` is ``banyan sim``.

What an experiment is and where its records lie is ``simulations.experiment``'s; what a cell
computes is ``simulations.world``'s; what its records show is ``simulations.report``'s.
"""

from __future__ import annotations

from simulations.runner.run import Outcome, RunCell, Tick, run_experiment

__all__ = ["Outcome", "RunCell", "Tick", "run_experiment"]
