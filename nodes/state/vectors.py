"""Vectors in the network's coordinates: adapters, displacements, effects; (d,) float32 each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]


def sum_of(thetas: Sequence[Vector]) -> Vector:
    """Sum adapters, (d,) float32, in float64 so that order does not matter much."""
    total = np.zeros(thetas[0].shape, np.float64)
    for theta in thetas:
        total += theta
    return total.astype(np.float32)
