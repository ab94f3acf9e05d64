"""What Banyan's peers say to each other, and what of it is believed.

Bytes become a verified statement, a statement becomes typed values; nothing here learns, talks to a
network or writes a file other than a key.
"""

from protocol.admission import Admission, Admitted, Claims, Tasks
from protocol.certificates import verify_network, verify_path
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
from protocol.membership import Membership
from protocol.statements import (
    Abstention,
    Certificate,
    ChainEntry,
    Network,
    PayloadFormat,
    ProbeLoss,
    Release,
    ReleaseKind,
    Role,
    Snapshot,
    Span,
    Statement,
    Task,
    Update,
    Verdict,
    VerdictKind,
    chain_digest,
)
from protocol.tensors import parse_tensors, write_tensors

__all__ = [
    "LIMITS",
    "Abstention",
    "Admission",
    "Admitted",
    "Certificate",
    "ChainEntry",
    "Claims",
    "Code",
    "Digest",
    "Envelope",
    "KeyId",
    "Limits",
    "Membership",
    "Network",
    "NodeId",
    "PayloadFormat",
    "ProbeLoss",
    "ProtocolError",
    "PublicKey",
    "Refused",
    "Release",
    "ReleaseKind",
    "Role",
    "Scope",
    "SigningKey",
    "Snapshot",
    "Span",
    "Statement",
    "Task",
    "Tasks",
    "Update",
    "Verdict",
    "VerdictKind",
    "chain_digest",
    "check_digest",
    "decode_adapter",
    "decode_delta",
    "digest_of",
    "encode_adapter",
    "encode_delta",
    "encoded_size",
    "open_envelope",
    "parse_tensors",
    "seal",
    "verify_network",
    "verify_path",
    "write_tensors",
]
