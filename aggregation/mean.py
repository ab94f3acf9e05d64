"""The plain mean. It tolerates nobody: one bad update moves it as far as it likes.

f only says how many holders a coordinate needs, as in every rule.
"""

from __future__ import annotations

from collections.abc import Sequence

from aggregation.coordinatewise import Middle, Row, by_coordinate, total
from aggregation.rule import Aggregate
from aggregation.updates import Updates


class Mean:
    """For each coordinate the mean over its holders, summed in float64."""

    name = "mean"

    def __call__(self, updates: Updates, f: int) -> Aggregate:
        """Aggregate; see ``Rule``."""
        return by_coordinate(updates, f, _mean)


def _mean(rows: Sequence[Row]) -> Middle:
    return Middle(total(rows) / len(rows))
