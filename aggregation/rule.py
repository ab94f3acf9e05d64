"""The interface of every rule: from n vectors and f to one vector, and what it made of each input.

f is how many of the n may be arbitrary. It comes from outside and is never guessed from the data;
whatever the rule, it needs n ≥ 2f + 1, and a coordinate that fewer than 2f + 1 children hold does
not move: otherwise f of them would own it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aggregation.errors import AggregationError
from aggregation.updates import Updates


@dataclass(frozen=True, eq=False)
class Aggregate:
    """The outcome.

    Attributes:
        vector: (d,) float32, finite; 0 where nothing moved.
        kept: (n,) float64 in [0, 1]: of the coordinates that an input holds and that moved, the
            share in which the input lies within what the rule kept. An input equal to a kept value
            is kept, so that equal inputs always have equal shares. 0 for an input that holds none.
        moved: how many coordinates had enough holders to move.
    """

    vector: NDArray[np.float32]
    kept: NDArray[np.float64]
    moved: int


class Rule(Protocol):
    """A rule. The same updates give the same bits, in whatever order the rows are."""

    @property
    def name(self) -> str:
        """Its name in configuration and in the ledger."""
        ...

    def __call__(self, updates: Updates, f: int) -> Aggregate:
        """Aggregate ``updates``, of which ``f`` may be arbitrary.

        Raises ``AggregationError``: ``bad-f``, ``too-few-updates``.
        """
        ...


def check_count(n: int, f: int) -> None:
    """Refuse an f that n updates cannot carry: ``bad-f``, ``too-few-updates``."""
    if f < 0:
        raise AggregationError("bad-f", f"f counts updates that may be bad, got {f}.")
    if n < 2 * f + 1:
        raise AggregationError(
            "too-few-updates", f"To tolerate {f} bad updates takes at least {2 * f + 1}, got {n}."
        )
