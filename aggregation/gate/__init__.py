"""The gate: decide whether a candidate becomes a release.

>>> drawn = draw(uses, seed, policy)
>>> verdict = judge(current, candidate, policy, budget, best, drawn.reused)

Pure functions on arrays: the caller measures the losses, stores ``verdict.budget`` and
``drawn.used(uses)``, and acts on a refusal. ``docs/gate.md`` has the page.
"""

from __future__ import annotations

from aggregation.gate.budget import Budget
from aggregation.gate.draw import Draw, Uses, draw
from aggregation.gate.evidence import log10_e
from aggregation.gate.judgement import GateVerdict, Losses, Reason, SourceFigures, judge
from aggregation.gate.policy import TOLERANCES, GatePolicy, ProbeKind, Reuse
from aggregation.gate.step import STEPS, Step, choose_step, forgotten

__all__ = [
    "STEPS",
    "TOLERANCES",
    "Budget",
    "Draw",
    "GatePolicy",
    "GateVerdict",
    "Losses",
    "ProbeKind",
    "Reason",
    "Reuse",
    "SourceFigures",
    "Step",
    "Uses",
    "choose_step",
    "draw",
    "forgotten",
    "judge",
    "log10_e",
]
