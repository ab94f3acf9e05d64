"""The audit: a grandparent checks from sketches what the tier below it let through.

``commitment`` has the order of events, ``sketch`` the projection, ``flat`` the geometry of all
leaves, ``verdict`` the conclusions and ``examination`` the whole. Pure functions: signatures and
messages are the caller's business. ``docs/audit.md`` has the page.
"""

from __future__ import annotations

from aggregation.audit.commitment import AuditDraw, Commitment, Parts, answer, commit, commitment
from aggregation.audit.examination import Audit, Plan, Subtree, audit, plan, recomputed
from aggregation.audit.sketch import sketch
from aggregation.audit.verdict import AuditPolicy, AuditVerdict, Outcome, counted

__all__ = [
    "Audit",
    "AuditDraw",
    "AuditPolicy",
    "AuditVerdict",
    "Commitment",
    "Outcome",
    "Parts",
    "Plan",
    "Subtree",
    "answer",
    "audit",
    "commit",
    "commitment",
    "counted",
    "plan",
    "recomputed",
    "sketch",
]
