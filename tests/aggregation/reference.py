"""The rules once more, one coordinate at a time in float64: slow, plain, sharing no code."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def reference(
    values: NDArray[np.float32], holders: NDArray[np.bool_] | None, f: int, trim: int
) -> tuple[list[float], list[float], int]:
    """The vector, the kept shares and the moved count, trimming ``trim`` values at each end."""
    n, d = values.shape
    vector, moved = [0.0] * d, 0
    held, kept = [0] * n, [0] * n
    for k in range(d):
        who = [i for i in range(n) if holders is None or holders[i, k]]
        if len(who) < 2 * f + 1:
            continue
        moved += 1
        ordered = sorted(float(values[i, k]) for i in who)
        middle = ordered[trim : len(ordered) - trim]
        vector[k] = math.fsum(middle) / len(middle)
        for i in who:
            held[i] += 1
            kept[i] += middle[0] <= float(values[i, k]) <= middle[-1]
    return vector, [a / b if b else 0.0 for a, b in zip(kept, held, strict=True)], moved
