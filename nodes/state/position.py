"""A node's own vectors: its adapter, its baseline, and the copies under way.

The three move together: what displaces the adapter displaces the other two, or the next offer would
take the displacement back (DESIGN section 4). These are values; nothing is stored here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from nodes.state.vectors import Vector
from protocol import Digest


@dataclass(frozen=True, eq=False)
class Position:
    """The adapter a, the baseline b, and of each update under way the copy s; (d,) float32 each."""

    adapter: Vector
    baseline: Vector
    copies: Mapping[Digest, Vector]

    def displaced(self, by: Vector) -> Position:
        """Move everything alike, as a re-base does."""
        return Position(
            self.adapter + by,
            self.baseline + by,
            {update: copy + by for update, copy in self.copies.items()},
        )

    def counted(self, update: Digest) -> tuple[Position, Vector]:
        """Make the copy of an update the baseline; also return δ = s - b, which it counted."""
        copies = dict(self.copies)
        copy = copies.pop(update)
        return replace(self, baseline=copy, copies=copies), copy - self.baseline

    def settled(self, update: Digest) -> Position:
        """Forget the copy of an update of which nothing counts."""
        return replace(self, copies={u: s for u, s in self.copies.items() if u != update})

    def withdrawn(self, delta: Vector) -> Position:
        """Take a counted δ out of the baseline and every copy, so that it is on offer again."""
        return replace(
            self,
            baseline=self.baseline - delta,
            copies={update: copy - delta for update, copy in self.copies.items()},
        )
