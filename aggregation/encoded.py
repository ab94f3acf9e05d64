"""Updates as they were sent: eight bits a value, decoded block by block where they are read.

Two hundred updates of a million values are 800 MB as float32, and 200 MB as they came. A rule reads
each a few times and a few columns at a time, so only those are ever decoded.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_STRIDE = 4096


class Holding:
    """Which of d coordinates a class of devices holds; shared by all rows of the class."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self.mask = mask
        counts = np.add.reduceat(mask, np.arange(0, mask.size, _STRIDE), dtype=np.int64)
        self._before = np.concatenate(([0], np.cumsum(counts)))

    @property
    def is_all(self) -> bool:
        """Whether every coordinate is held."""
        return bool(self._before[-1] == self.mask.size)

    def before(self, column: int) -> int:
        """Count the held coordinates below a column."""
        part = column // _STRIDE
        return int(self._before[part]) + int(np.count_nonzero(self.mask[part * _STRIDE : column]))


class EncodedRow:
    """One update, (d,), of which a slice is (b,) float32: what is sent, times its scales.

    Args:
        values: (k,) int8 or float32, what was sent of the k coordinates that are held.
        holding: which coordinates these are; all others are 0.
        scale: (ceil(k / block),) float32, by which each block of values is multiplied; None
            without one.
        block: how many values share a scale.
        factor: multiplies the whole.
    """

    __slots__ = ("_block", "_factor", "_holding", "_scale", "_values")

    def __init__(
        self,
        values: NDArray[np.int8] | NDArray[np.float32],
        holding: Holding,
        scale: NDArray[np.float32] | None = None,
        block: int = 1,
        factor: float = 1.0,
    ) -> None:
        self._values, self._scale, self._block = values, scale, block
        self._holding, self._factor = holding, np.float32(factor)

    @property
    def size(self) -> int:
        """d."""
        return int(self._holding.mask.size)

    def __getitem__(self, columns: slice) -> NDArray[np.float32]:
        """Decode some columns, one after the other; the same bits whatever the slice."""
        start, stop, step = columns.indices(self.size)
        if step != 1:
            raise IndexError("An update is read in one piece.")
        holding = self._holding
        if holding.is_all:
            return self._decoded(start, stop)
        row = np.zeros(stop - start, np.float32)
        row[holding.mask[start:stop]] = self._decoded(holding.before(start), holding.before(stop))
        return row

    def is_finite(self) -> bool:
        """Whether every value is a number; looks at the values only if the scales are not plain."""
        scale, factor = self._scale, abs(float(self._factor))
        if scale is not None and self._values.dtype == np.int8:
            most = float(scale.max(initial=0)) if not np.isnan(scale).any() else np.inf
            if max(most, most * factor) * 128 < float(np.finfo(np.float32).max):
                return True
        starts = range(0, self.size, _STRIDE)
        with np.errstate(over="ignore", invalid="ignore"):
            return all(bool(np.isfinite(self[at : at + _STRIDE]).all()) for at in starts)

    def _decoded(self, start: int, stop: int) -> NDArray[np.float32]:
        """Decode values ``start`` to ``stop`` of those that were sent."""
        if self._scale is None:
            decoded = self._values[start:stop].astype(np.float32)
        else:
            block = self._block
            first, last = start // block, -(-stop // block)
            sent = self._values[first * block : last * block]
            decoded = np.zeros((last - first) * block, np.float32)
            decoded[: sent.size] = sent
            blocks = decoded.reshape(-1, block)
            blocks *= self._scale[first:last, None]
            decoded = decoded[start - first * block : stop - first * block]
        if self._factor != 1:
            decoded *= self._factor
        return decoded
