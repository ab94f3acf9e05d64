"""The error budget of the next test, which keeps false promotions rare over a node's life.

e-LOND (Xu and Ramdas, arXiv 2311.06412): test t promotes when its e-value reaches 1/α_t, with
α_t = α·γ_t·(promotions so far + 1) and Σγ = 1. The expected share of false ones among all
promotions is then at most α at any time, however the tests depend on each other.

γ_t = 1/log₂(t+1) - 1/log₂(t+2) adds up to 1 and falls as slowly as 1/(t·ln² t): the evidence that
is needed grows with the logarithm of t. At the hundredth test without a promotion before it is five
times what 6/(π²t²) leaves. A node that promotes gets its budget back: if every second test does,
test 100 needs an e-value of 1,230 in place of 62,500.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aggregation.errors import AggregationError


@dataclass(frozen=True)
class Budget:
    """The number of tests in a node's life, and of those that promoted.

    Every judged candidate is a test: also a smaller step and a retry after rehearsal.

    Raises:
        AggregationError: ``bad-budget`` unless 0 ≤ promotions ≤ tests.
    """

    tests: int = 0
    promotions: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.promotions <= self.tests:
            raise AggregationError(
                "bad-budget",
                f"{self.promotions} promotions cannot come from {self.tests} tests.",
            )

    def level(self, alpha: float) -> float:
        """α of the next test: it promotes with an e-value of at least 1/level."""
        t = self.tests + 1
        spread = 1 / math.log2(t + 1) - 1 / math.log2(t + 2)
        return alpha * spread * (self.promotions + 1)

    def after(self, promoted: bool) -> Budget:
        """Return the budget after one more test."""
        return Budget(self.tests + 1, self.promotions + promoted)
