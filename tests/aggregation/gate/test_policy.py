"""Claims about the policy: what it refuses, and whose tolerance holds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from aggregation import AggregationError
from aggregation.gate import TOLERANCES, GatePolicy, ProbeKind


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0},
        {"alpha": math.nan},
        {"harm": 1.0},
        {"bound": 0.0},
        {"bound": math.inf},
        {"correlation": 1.0},
        {"size": 0},
        {"each": 0},
        {"retire_after": 0},
        {"least": 0},
        {"sources": {"eye": -0.1}},
        {"sources": {"eye": math.nan}},
        {"tolerances": {ProbeKind.ORDINARY: 0.1}},
    ],
)
def test_a_value_out_of_its_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(AggregationError) as refused:
        GatePolicy(**wrong)
    assert refused.value.code == "bad-policy"


def test_a_source_has_its_own_tolerance_or_that_of_its_kind() -> None:
    policy = GatePolicy(kinds={"chat": ProbeKind.GENERAL}, sources={"eye": 0.2})
    assert policy.tolerance("eye") == 0.2
    assert policy.tolerance("chat") == TOLERANCES[ProbeKind.GENERAL]
    assert policy.tolerance("heart") == TOLERANCES[ProbeKind.ORDINARY]
