"""The replay buffer as pure functions: what to keep, what to mix in, whether text has shifted.

The functions see keyed hashes, sizes and texts. Storage and access are the caller's business.
"""

from __future__ import annotations

from aggregation.replay.divide import canonical_text, divide, keyed_hash, part_of
from aggregation.replay.mixture import (
    ALIKE,
    ONLY_NEW,
    ONLY_OLD,
    SHIFTED,
    Drawn,
    Mixture,
    Portion,
    mixture,
)
from aggregation.replay.reservoir import Cell, Item, Reservoir, allotments
from aggregation.replay.shift import Kind, Shift, ShiftPolicy, shift
from aggregation.replay.stand_ins import stand_ins

__all__ = [
    "ALIKE",
    "ONLY_NEW",
    "ONLY_OLD",
    "SHIFTED",
    "Cell",
    "Drawn",
    "Item",
    "Kind",
    "Mixture",
    "Portion",
    "Reservoir",
    "Shift",
    "ShiftPolicy",
    "allotments",
    "canonical_text",
    "divide",
    "keyed_hash",
    "mixture",
    "part_of",
    "shift",
    "stand_ins",
]
