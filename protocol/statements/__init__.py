"""The statements that peers sign: frozen values whose every field has been checked."""

from protocol.statements.base import Statement
from protocol.statements.kinds import check_label
from protocol.statements.network import Certificate, LinkAuthority, Network, Role
from protocol.statements.releases import (
    ChainEntry,
    ProbeLoss,
    Release,
    ReleaseKind,
    Snapshot,
    Span,
    Verdict,
    VerdictKind,
    chain_digest,
)
from protocol.statements.rounds import Abstention, PayloadFormat, Task, Update

__all__ = [
    "Abstention",
    "Certificate",
    "ChainEntry",
    "LinkAuthority",
    "Network",
    "PayloadFormat",
    "ProbeLoss",
    "Release",
    "ReleaseKind",
    "Role",
    "Snapshot",
    "Span",
    "Statement",
    "Task",
    "Update",
    "Verdict",
    "VerdictKind",
    "chain_digest",
    "check_label",
]
