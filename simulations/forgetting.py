"""What a learner keeps of earlier sources while it learns later ones, from a matrix of losses.

The measures are those of continual learning (arXiv 1706.08840, 1801.10112), with losses in place of
accuracies: in nats per token, and lower is better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class LossMatrix:
    """``losses[i, j]``: the loss on source j after learning source i, (n, n) in one order.

    Raises ``ValueError`` when it is not square, or a loss is not finite.
    """

    sources: tuple[str, ...]
    losses: NDArray[np.float64]

    def __post_init__(self) -> None:
        count = len(self.sources)
        if count == 0 or self.losses.shape != (count, count):
            raise ValueError(f"{count} sources need {count}×{count} losses: {self.losses.shape}")
        if not np.isfinite(self.losses).all():
            raise ValueError("a loss is not finite")

    @property
    def average(self) -> float:
        """Mean loss over all sources at the end."""
        return float(self.losses[-1].mean())

    @property
    def forgetting(self) -> float:
        """How much worse the sources before the last are at the end than at their best since they
        were learned, mean; never below 0."""
        earlier = range(len(self.sources) - 1)
        return _mean([self.losses[-1, j] - self.losses[j:, j].min() for j in earlier])

    @property
    def backward_transfer(self) -> float:
        """How much better the sources before the last are at the end than when they had just been
        learned, mean; below 0 where they were forgotten."""
        earlier = range(len(self.sources) - 1)
        return _mean([self.losses[j, j] - self.losses[-1, j] for j in earlier])

    def first(self, count: int) -> LossMatrix:
        """The same for the first sources alone, as if learning had ended there."""
        return LossMatrix(self.sources[:count], self.losses[:count, :count])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
