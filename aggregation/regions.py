"""Group coordinates by their holders.

Devices come in few ranks, so the coordinates fall into few regions with the same holders each. A
rule works per region on a small table, and never with n masks of d values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aggregation.blocks import Columns, each_block
from aggregation.errors import AggregationError
from aggregation.updates import Mask, Updates

MOST_REGIONS = 256
"""More than any set of device ranks makes; each costs a table of n by n."""

_WIDTH = 1 << 16
_NOWHERE = np.uint16(np.iinfo(np.uint16).max)


class Regions:
    """The coordinates that move, grouped by their holders.

    A coordinate moves when its holders fill at least ``least`` seats; otherwise it belongs to no
    region: a few bad children would own it.

    Attributes:
        holders: (R, n) bool, in the order of ``order``: who holds the coordinates of a region.
        sizes: (R,) int64, how many coordinates each region has, at least one.

    Raises:
        AggregationError: ``too-large`` for more than 256 sets of holders.
    """

    def __init__(self, updates: Updates, order: Sequence[int], least: int) -> None:
        n, d = updates.count, updates.size
        seats = np.array([updates.seats[row] for row in order], np.int64)
        self._labels: NDArray[np.uint16] | None = None
        if updates.masks is None or all(mask.all() for mask in _distinct(updates.masks)):
            moves = d > 0 and seats.sum() >= least
            self.holders = np.ones((int(moves), n), np.bool_)
            self.sizes = np.full(int(moves), d, np.int64)
            return
        masks = [updates.masks[row] for row in order]
        patterns, labels = _patterns(masks, d)
        moving = [p for p, pattern in enumerate(patterns) if seats[pattern].sum() >= least]
        number = np.full(len(patterns), _NOWHERE)
        number[moving] = np.arange(len(moving), dtype=np.uint16)
        self._labels = number[labels]
        self.holders = np.array([patterns[p] for p in moving], np.bool_).reshape(-1, n)
        self.sizes = np.bincount(labels, minlength=len(patterns))[moving].astype(np.int64)

    @property
    def moved(self) -> int:
        """The number of coordinates that move."""
        return int(self.sizes.sum())

    def within(self, block: slice) -> Iterator[tuple[int, Columns]]:
        """Yield the regions with coordinates in a block, with their columns in it."""
        if self._labels is None:
            if len(self.sizes):
                yield 0, slice(None)
            return
        labels = self._labels[block]
        first = labels[0]
        if (labels == first).all():
            if first != _NOWHERE:
                yield int(first), slice(None)
            return
        for region in np.unique(labels):
            if region != _NOWHERE:
                yield int(region), np.flatnonzero(labels == region)


def _distinct(masks: Sequence[Mask]) -> list[Mask]:
    """Return the masks without repeated references to one array."""
    return list({id(mask): mask for mask in masks}.values())


def _patterns(masks: Sequence[Mask], d: int) -> tuple[list[NDArray[np.bool_]], NDArray[np.uint16]]:
    """List the sets of holders that occur, (n,) bool each, and the set of each coordinate.

    They are numbered by their content, whatever order the coordinates are in.
    """
    classes = _distinct(masks)
    class_of = {id(mask): number for number, mask in enumerate(classes)}
    columns = np.array([class_of[id(mask)] for mask in masks])

    def look(block: slice) -> tuple[list[bytes], NDArray[np.intp]]:
        bits = np.packbits(np.array([mask[block] for mask in classes]), axis=0)
        keys = np.ascontiguousarray(bits.T).view(np.dtype((np.void, bits.shape[0]))).reshape(-1)
        distinct, inverse = np.unique(keys, return_inverse=True)
        return [key.tobytes() for key in distinct], inverse.reshape(-1)

    looked = list(each_block(d, _WIDTH, look))
    keys = sorted({key for distinct, _ in looked for key in distinct})
    if len(keys) > MOST_REGIONS:
        raise AggregationError(
            "too-large",
            f"Coordinates have {len(keys)} different sets of holders; at most {MOST_REGIONS} "
            "are supported: let devices use a few common ranks.",
        )
    number = {key: np.uint16(i) for i, key in enumerate(keys)}
    labels = np.concatenate(
        [
            np.array([number[key] for key in distinct], np.uint16)[inverse]
            for distinct, inverse in looked
        ]
    )
    patterns = [np.unpackbits(np.frombuffer(key, np.uint8), count=len(classes)) for key in keys]
    return [bits.astype(np.bool_)[columns] for bits in patterns], labels
