"""Aggregate vectors robustly: pure functions on arrays that know no network and no model.

The gate and the audit are packages of their own: ``aggregation.gate``, ``aggregation.audit``.

>>> aggregate(["arc", "centred_clipping"], Updates(rows), f=1).vector
"""

from __future__ import annotations

from aggregation.diagnostics import Diagnostics, diagnose
from aggregation.encoded import EncodedRow, Holding
from aggregation.errors import AggregationError
from aggregation.pipeline import RULES, STEPS, Pipeline, aggregate
from aggregation.rule import Aggregate, Rule
from aggregation.updates import Updates

__all__ = [
    "RULES",
    "STEPS",
    "Aggregate",
    "AggregationError",
    "Diagnostics",
    "EncodedRow",
    "Holding",
    "Pipeline",
    "Rule",
    "Updates",
    "aggregate",
    "diagnose",
]
