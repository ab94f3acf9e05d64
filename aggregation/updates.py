"""The input of a rule: one vector per child, the coordinates it holds, the seats it takes.

Checked once, when it is made: a rule never meets a NaN or a wrong shape. The vectors may be
memory-mapped files, or encoded as they were sent; nothing here copies them. A row has no name and
no weight of its own, so a rule cannot depend on its sender, on a claim of the sender or on the
order of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aggregation.encoded import EncodedRow
from aggregation.errors import AggregationError

Row = NDArray[np.float32]
Source = Row | EncodedRow
"""What rows are read from, a slice of columns at a time."""
Mask = NDArray[np.bool_]

MOST_SEATS = 1024
"""Seats of all rows together: rules that compare rows work on tables of seats by seats."""
_CHUNK = 1 << 16
"""Values that are looked at together, so that no temporary is as large as the updates."""


class Updates:
    """Several vectors in the same coordinates.

    Args:
        rows: n arrays of (d,) float32, C-contiguous and finite, or rows that are encoded, or one
            (n, d) array. What a child does not hold is ignored, but must be finite too.
        masks: n arrays of (d,) bool, which coordinates each child holds; None when all hold all.
            Rows of one class should share one array: masks are compared, not copied.
        seats: for each row how many seats it takes; None for one each. A row in k seats counts as k
            equal rows would. Seats are granted from above, never claimed by the child.

    Raises:
        AggregationError: ``bad-updates`` for a wrong shape, type or seat, ``not-finite``.
    """

    def __init__(
        self,
        rows: Sequence[Source] | NDArray[np.float32],
        masks: Sequence[Mask] | NDArray[np.bool_] | None = None,
        seats: Sequence[int] | None = None,
    ) -> None:
        self.rows: tuple[Source, ...] = tuple(rows)
        self.masks: tuple[Mask, ...] | None = None if masks is None else tuple(masks)
        self.seats: tuple[int, ...] = (1,) * len(self.rows) if seats is None else tuple(seats)
        self._check()

    @property
    def count(self) -> int:
        """n, the number of vectors."""
        return len(self.rows)

    @property
    def size(self) -> int:
        """d, the length of each; 0 when there is none."""
        if not self.rows:
            return 0
        first = self.rows[0]
        return first.size if isinstance(first, EncodedRow) else int(np.size(first))

    def canonical_order(self) -> list[int]:
        """Order the rows by their content and by nothing else.

        Floating-point sums depend on their order. A rule that takes rows in this one gives the same
        bits in whatever order the children answered; rows that tie are the same in every bit.
        """
        groups, start, width = [list(range(self.count))], 0, 64
        while start < self.size and any(len(group) > 1 for group in groups):
            groups = [part for group in groups for part in self._split(group, start, width)]
            start, width = start + width, _CHUNK
        return [row for group in groups for row in sorted(group, key=self.seats.__getitem__)]

    def _split(self, group: list[int], start: int, width: int) -> list[list[int]]:
        """Order rows that are alike so far by their next ``width`` columns."""
        if len(group) == 1:
            return [group]
        alike: dict[bytes, list[int]] = {}
        for row in group:
            alike.setdefault(self._content(row, start, start + width), []).append(row)
        return [alike[key] for key in sorted(alike)]

    def _content(self, row: int, start: int, stop: int) -> bytes:
        values = self.rows[row][start:stop] + np.float32(0)  # −0 and 0 are one value
        if self.masks is None:
            return values.tobytes()
        mask = self.masks[row][start:stop]
        return mask.tobytes() + np.where(mask, values, np.float32(0)).tobytes()

    def _check(self) -> None:
        for row, values in enumerate(self.rows):
            if not _is_row(values, self.size):
                raise AggregationError(
                    "bad-updates",
                    "Updates are contiguous float32 vectors of one length; "
                    f"update {row} is {_described(values)}, the first has {self.size} values.",
                )
        for name, given in (("masks", self.masks), ("seats", self.seats)):
            if given is not None and len(given) != self.count:
                raise AggregationError(
                    "bad-updates", f"{self.count} updates came with {len(given)} {name}."
                )
        for row, mask in enumerate(self.masks or ()):
            if not _is_vector(mask, np.bool_, self.size):
                raise AggregationError(
                    "bad-updates",
                    f"A mask is bool of shape ({self.size},); "
                    f"that of update {row} is {_described(mask)}.",
                )
        counts = all(isinstance(s, int | np.integer) and s >= 1 for s in self.seats)
        if not counts or sum(self.seats) > MOST_SEATS:
            raise AggregationError(
                "bad-updates",
                f"Every update takes one seat or more, all together at most {MOST_SEATS}.",
            )
        for row, values in enumerate(self.rows):
            if not _is_finite(values):
                raise AggregationError(
                    "not-finite", f"Update {row} has a NaN or an infinite coordinate."
                )


def _is_row(given: object, size: int) -> bool:
    if isinstance(given, EncodedRow):
        return given.size == size
    return _is_vector(given, np.float32, size) and bool(np.asarray(given).flags.c_contiguous)


def _is_finite(values: Source) -> bool:
    if isinstance(values, EncodedRow):
        return values.is_finite()
    starts = range(0, values.size, _CHUNK)
    return all(bool(np.isfinite(values[at : at + _CHUNK]).all()) for at in starts)


def _is_vector(given: object, dtype: type[np.generic], size: int) -> bool:
    return isinstance(given, np.ndarray) and given.dtype == dtype and given.shape == (size,)


def _described(given: object) -> str:
    if isinstance(given, np.ndarray | np.generic):
        return f"{given.dtype} of shape {given.shape}"
    return f"a {type(given).__name__}"
