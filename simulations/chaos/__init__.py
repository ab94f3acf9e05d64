"""Deterministic fault simulation: production nodes through crashes, enemies and rough weather.

``run`` takes a seed and gives the same world each time; see ``docs/chaos.md``.
"""

from __future__ import annotations

from simulations.chaos.invariants import SENTENCES, Broken, Invariant
from simulations.chaos.run import Failure, Result, run
from simulations.chaos.world import World

__all__ = ["SENTENCES", "Broken", "Failure", "Invariant", "Result", "World", "run"]
