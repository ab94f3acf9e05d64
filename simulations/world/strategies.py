"""What a parent does with its updates in networks that Banyan is compared with.

They have no gate, no quarantine and no stand-ins: whatever the rule makes of the updates is the
next model, as in Flower. Admission stays: signatures, formats and the limit on norms are the
protocol's, so what cannot be read reaches nobody.
"""

from __future__ import annotations

import numpy as np

from nodes.errors import NodeError
from nodes.parent.combine import Collected, rows_of
from nodes.parent.gate import Passed
from nodes.state.node import Node
from nodes.state.vectors import Vector
from protocol import Verdict, VerdictKind

FLOWER = {
    "flower:FedAvg": "mean",
    "flower:FedTrimmedAvg": "trimmed_mean",
    "flower:FedMedian": "median",
    "flower:Krum": "krum",
    "flower:MultiKrum": "multi_krum",
    "flower:Bulyan": "bulyan",
}
"""Flower's strategies, and what the benches call them."""
WAITING = ("synchronous", "deadline", "fedbuff")
"""Plain averages that differ by whom a round waits for."""


class PlainCombiner:
    """Makes of the updates what a rule makes; ``strategy`` is the mean if not Flower's."""

    def __init__(self, node: Node, strategy: str) -> None:
        self._node, self._strategy = node, strategy

    def combine(self, collected: Collected) -> tuple[Vector, list[Verdict]]:
        """Combine what is seated; nothing stands in for anybody."""
        seated = collected.seated
        rows, _ = rows_of(self._node, seated, collected.deltas)
        if not rows:
            raise NodeError("too-few-updates", "Nobody sent an update.")
        with np.errstate(all="ignore"):
            vector = combined(self._strategy, np.stack([row[:] for row in rows]), collected.f)
        if not np.isfinite(vector).all():
            raise NodeError("not-finite", f"{self._strategy} gave a value that is not finite.")
        verdicts = [
            Verdict(
                node=child,
                update=seat.update,
                verdict=VerdictKind.ACCEPTED,
                code="",
                share=1 / len(seated),
            )
            for child, seat in seated.items()
        ]
        return vector, verdicts


class OpenGate:
    """A gate that lets everything pass."""

    def admit(self, round: int, displacement: Vector) -> Passed | None:
        """The whole step, always."""
        return Passed(1.0, None)


def combined(strategy: str, rows: Vector, f: int) -> Vector:
    """What a strategy makes of updates (n, d), n ≥ 1, of which f may be bad: (d,) float32."""
    if strategy not in FLOWER:
        mean: Vector = rows.mean(axis=0, dtype=np.float32)
        return mean
    from simulations import libraries

    rule = FLOWER[strategy]
    if rule == "bulyan":  # Flower passes over a round of fewer than 4f + 3 updates
        f = min(f, (len(rows) - 3) // 4)
        rule = rule if f >= 0 else "mean"
    return libraries.flower()[rule](rows, f)()
