"""What a rule is given: one row for each child, and which coordinates each child holds.

Checked once, when it is made: a rule never meets a NaN or a wrong shape. A row carries no weight
of its own and no name, so a rule cannot depend on who sent it or in which order it came.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aggregation.errors import AggregationError

_CHUNK = 1 << 16
"""Columns that are looked at together, so that no temporary is as large as the updates."""


@dataclass(frozen=True, eq=False)
class Updates:
    """Several vectors in the same coordinates.

    Args:
        values: (n, d) float32, C-contiguous, finite. What a child does not hold is ignored.
        holders: (n, d) bool, which coordinates each child holds; None when all hold all.

    Raises:
        AggregationError: ``bad-updates`` for a wrong shape or type, ``not-finite``.
    """

    values: NDArray[np.float32]
    holders: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        values, holders = self.values, self.holders
        if values.ndim != 2 or values.dtype != np.float32 or not values.flags.c_contiguous:
            raise AggregationError(
                "bad-updates",
                "Updates are one C-contiguous (n, d) array of float32, "
                f"got {values.dtype} of shape {values.shape}.",
            )
        if holders is not None and (holders.shape != values.shape or holders.dtype != np.bool_):
            raise AggregationError(
                "bad-updates",
                f"Holders are bool of shape {values.shape}, "
                f"got {holders.dtype} of shape {holders.shape}.",
            )
        for row in range(self.count):
            for start in range(0, self.size, _CHUNK):
                if not np.isfinite(values[row, start : start + _CHUNK]).all():
                    raise AggregationError(
                        "not-finite", f"Update {row} has a NaN or an infinite coordinate."
                    )

    @property
    def count(self) -> int:
        """n, how many vectors there are."""
        return int(self.values.shape[0])

    @property
    def size(self) -> int:
        """d, the length of each."""
        return int(self.values.shape[1])

    def canonical_order(self) -> list[int]:
        """The rows, ordered by what they hold and by nothing else.

        Floating-point sums depend on their order. A rule that takes rows in this one gives the same
        bits in whatever order the children answered; rows that tie are the same in every bit.
        """
        groups, start, width = [list(range(self.count))], 0, 64
        while start < self.size and any(len(group) > 1 for group in groups):
            groups = [part for group in groups for part in self._split(group, start, width)]
            start, width = start + width, _CHUNK
        return [row for group in groups for row in group]

    def _split(self, group: list[int], start: int, width: int) -> list[list[int]]:
        """Order rows that are alike so far by their next ``width`` columns."""
        if len(group) == 1:
            return [group]
        alike: dict[bytes, list[int]] = {}
        for row in group:
            alike.setdefault(self._content(row, start, start + width), []).append(row)
        return [alike[key] for key in sorted(alike)]

    def _content(self, row: int, start: int, stop: int) -> bytes:
        values = self.values[row, start:stop]
        if self.holders is None:
            return values.tobytes()
        held = self.holders[row, start:stop]
        return held.tobytes() + np.where(held, values, np.float32(0)).tobytes()
