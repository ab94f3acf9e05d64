"""Reservoir sampling of documents per source within one budget of bytes.

A document's priority is a keyed hash of it. Of every source and contributor the documents with the
smallest priorities are kept, as many as fit. So the sample is uniform, and depends neither on the
order in which documents came nor on restarts: space that a cell lost to others never comes back, so
the first item that did not fit bounds its cell for ever.

The budget is balanced between sources by water-filling (a small source leaves its rest to large
ones), a source's share in the same way between its contributors, and no child holds more than its
cap, however many sources it is filed under.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from aggregation.errors import AggregationError

Key = TypeVar("Key", bound=Hashable)


class Cell(NamedTuple):
    """A source and its contributor; ``child`` is None for a node's own documents."""

    source: str
    child: str | None = None


@dataclass(frozen=True)
class Item:
    """A document as a reservoir sees it.

    ``size`` in bytes; ``priority`` a keyed hash, the smallest stay; a document that is ``late``
    gives way to all that are not.
    """

    cell: Cell
    priority: bytes
    size: int
    late: bool = False

    @property
    def rank(self) -> Rank:
        """The item's rank in its cell: the smallest ranks stay."""
        return self.late, self.priority


Rank = tuple[bool, bytes]


@dataclass(frozen=True)
class Reservoir:
    """A sample of everything that was offered.

    Args:
        budget: bytes in all.
        child_share: the largest share of the budget that one child may hold; own documents have no
            cap.
        offered: bytes ever offered, kept or not.
        items: what is kept.
        ends: of cells that did not keep everything, the smallest rank that found no place.
    """

    budget: int
    child_share: float = 0.25
    offered: Mapping[Cell, int] = field(default_factory=dict)
    items: frozenset[Item] = frozenset()
    ends: Mapping[Cell, Rank] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.budget < 0 or not 0 <= self.child_share <= 1:
            raise AggregationError(
                "bad-budget",
                f"A budget is at least 0 bytes and a child's share in [0, 1], got {self.budget} "
                f"and {self.child_share}.",
            )

    def taking(self, items: Iterable[Item]) -> Reservoir:
        """Return the reservoir after these items were offered. Offer each document once."""
        new = frozenset(items)
        offered = defaultdict(int, self.offered)
        for item in new:
            offered[item.cell] += item.size
        room = allotments(offered, self.budget, self.child_share)
        items, ends = _smallest(self.items | new, room, self.ends)
        return Reservoir(self.budget, self.child_share, dict(offered), items, ends)


def allotments(
    offered: Mapping[Cell, int], budget: int, child_share: float = 1.0
) -> dict[Cell, int]:
    """Compute the bytes that each cell may keep.

    Once it is less than what the cell offered, it only shrinks as more is offered anywhere: that
    makes the reservoir independent of the order.
    """
    cap = int(child_share * budget)
    sources: defaultdict[str, dict[Cell, int]] = defaultdict(dict)
    filed: defaultdict[str, int] = defaultdict(int)
    for cell, size in offered.items():
        sources[cell.source][cell] = size if cell.child is None else min(size, cap)
        if cell.child is not None:
            filed[cell.child] += 1
    levels = fill({source: sum(cells.values()) for source, cells in sources.items()}, budget)
    room = {}
    for source, cells in sources.items():
        for cell, share in fill(cells, levels[source]).items():
            room[cell] = share if cell.child is None else min(share, cap // filed[cell.child])
    return room


def fill(demands: Mapping[Key, int], budget: int) -> dict[Key, int]:
    """Fill a budget like water: everyone gets the smaller of its demand and one common level.

    The level is the highest whole number with a sum of at most ``budget``.
    """
    level, left = None, budget
    for taken, demand in enumerate(sorted(demands.values())):
        share = left // (len(demands) - taken)
        if demand > share:
            level = share
            break
        left -= demand
    return {key: d if level is None else min(d, level) for key, d in demands.items()}


def _smallest(
    items: Iterable[Item], room: Mapping[Cell, int], ends: Mapping[Cell, Rank]
) -> tuple[frozenset[Item], dict[Cell, Rank]]:
    """Keep each cell's first items in rank, up to the first that does not fit or ever did not.

    Going on to smaller ones would fill the rest, but depend on the order of arrival. Returns what
    is kept and where each cell ends now.
    """
    cells: defaultdict[Cell, list[Item]] = defaultdict(list)
    for item in items:
        cells[item.cell].append(item)
    fitting: list[Item] = []
    ends = dict(ends)
    for cell, of_cell in cells.items():
        left = room[cell]
        for item in sorted(of_cell, key=lambda i: i.rank):
            left -= item.size
            if left < 0 or (cell in ends and item.rank >= ends[cell]):
                ends[cell] = min(item.rank, ends.get(cell, item.rank))
                break
            fitting.append(item)
    return frozenset(fitting), ends
