"""The result of a training run. Knows no torch: a process that did not train can hold one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Learned:
    """The result of a training run: a delta (d,) float32, zero outside the device's rank.

    ``losses`` are the mean losses of each step's batch, nats per token; ``tokens`` were predicted,
    ``replayed`` are those of old text by source. ``seen`` are the new texts that were read, by
    their place.
    """

    delta: NDArray[np.float32]
    losses: tuple[float, ...]
    tokens: int
    seconds: float
    replayed: Mapping[str, int] = field(default_factory=dict)
    seen: tuple[int, ...] = ()
