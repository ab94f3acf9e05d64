"""Pure functions on arrays: rules that make one vector of many, and the gate. No network, no model.

>>> aggregate("trimmed_mean", Updates(values), f=1).vector
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from aggregation.errors import AggregationError
from aggregation.gate import GateVerdict, Losses, SourceLoss, judge
from aggregation.mean import Mean
from aggregation.rule import Aggregate, Rule
from aggregation.trimmed_mean import TrimmedMean
from aggregation.updates import Updates

RULES: Mapping[str, Rule] = MappingProxyType({rule.name: rule for rule in (Mean(), TrimmedMean())})
"""Every rule by the name that configuration uses."""


def aggregate(name: str, updates: Updates, f: int) -> Aggregate:
    """Apply the rule called ``name``.

    Raises ``AggregationError``: ``unknown-rule``, and what the rule refuses.
    """
    if name not in RULES:
        raise AggregationError(
            "unknown-rule", f"There is no rule {name!r}. Known rules: {', '.join(sorted(RULES))}."
        )
    return RULES[name](updates, f)


__all__ = [
    "RULES",
    "Aggregate",
    "AggregationError",
    "GateVerdict",
    "Losses",
    "Mean",
    "Rule",
    "SourceLoss",
    "TrimmedMean",
    "Updates",
    "aggregate",
    "judge",
]
