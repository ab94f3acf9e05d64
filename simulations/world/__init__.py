"""A tree of production nodes on a virtual clock, in one process or many."""

from __future__ import annotations

from simulations.world.cell import run_cell

__all__ = ["run_cell"]
