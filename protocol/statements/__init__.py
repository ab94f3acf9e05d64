"""The statements that peers sign: frozen values whose every field has been checked."""

from protocol.statements.base import Statement
from protocol.statements.kinds import check_label
from protocol.statements.network import Certificate, LinkAuthority, Network, Role
from protocol.statements.peers import (
    ChildState,
    Circle,
    CircleMember,
    Fate,
    Receipt,
    Renewal,
    Status,
    Tally,
)
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
    "ChildState",
    "Circle",
    "CircleMember",
    "Fate",
    "LinkAuthority",
    "Network",
    "PayloadFormat",
    "ProbeLoss",
    "Receipt",
    "Release",
    "ReleaseKind",
    "Renewal",
    "Role",
    "Snapshot",
    "Span",
    "Statement",
    "Status",
    "Tally",
    "Task",
    "Update",
    "Verdict",
    "VerdictKind",
    "chain_digest",
    "check_label",
]
