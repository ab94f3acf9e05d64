"""The protocol of Banyan's peers: what they sign and send, and how it is checked.

Bytes become a verified statement, a statement becomes typed values. Nothing here learns, talks to a
network or writes a file other than a key.
"""

from protocol.admission import Admission, Admitted, Claims, Members, Tasks
from protocol.certificates import check_certificate, verify_network, verify_path
from protocol.codec import (
    decode_adapter,
    decode_delta,
    encode_adapter,
    encode_delta,
    encoded_size,
)
from protocol.envelope import Envelope, open_envelope, seal
from protocol.errors import Code, ProtocolError, Refused
from protocol.identity import PublicKey, SigningKey
from protocol.ids import (
    Digest,
    KeyId,
    NodeId,
    Scope,
    check_digest,
    digest_of,
)
from protocol.limits import LIMITS, Limits
from protocol.members import Member, MembershipParts
from protocol.membership import Membership
from protocol.statements import (
    Abstention,
    Certificate,
    ChainEntry,
    ChildState,
    Circle,
    CircleMember,
    Fate,
    LinkAuthority,
    Network,
    PayloadFormat,
    ProbeLoss,
    Receipt,
    Release,
    ReleaseKind,
    Renewal,
    Role,
    Snapshot,
    Span,
    Statement,
    Status,
    Tally,
    Task,
    Update,
    Verdict,
    VerdictKind,
    chain_digest,
    check_label,
)
from protocol.tensors import parse_tensors, write_tensors
from protocol.transport import TRANSPORT_CURVES, load_transport_key, transport_digest

__all__ = [
    "LIMITS",
    "TRANSPORT_CURVES",
    "Abstention",
    "Admission",
    "Admitted",
    "Certificate",
    "ChainEntry",
    "ChildState",
    "Circle",
    "CircleMember",
    "Claims",
    "Code",
    "Digest",
    "Envelope",
    "Fate",
    "KeyId",
    "Limits",
    "LinkAuthority",
    "Member",
    "Members",
    "Membership",
    "MembershipParts",
    "Network",
    "NodeId",
    "PayloadFormat",
    "ProbeLoss",
    "ProtocolError",
    "PublicKey",
    "Receipt",
    "Refused",
    "Release",
    "ReleaseKind",
    "Renewal",
    "Role",
    "Scope",
    "SigningKey",
    "Snapshot",
    "Span",
    "Statement",
    "Status",
    "Tally",
    "Task",
    "Tasks",
    "Update",
    "Verdict",
    "VerdictKind",
    "chain_digest",
    "check_certificate",
    "check_digest",
    "check_label",
    "decode_adapter",
    "decode_delta",
    "digest_of",
    "encode_adapter",
    "encode_delta",
    "encoded_size",
    "load_transport_key",
    "open_envelope",
    "parse_tensors",
    "seal",
    "transport_digest",
    "verify_network",
    "verify_path",
    "write_tensors",
]
