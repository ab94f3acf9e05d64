"""Why something was refused: a stable code for programs and a sentence for people.

Codes are part of the interface: they stand in ledgers, releases and metrics, and never change
their meaning. Every error that leaves this package is a ``ProtocolError``; whatever came from a
peer and fails a check is a ``Refused``.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """The reasons, in the order in which admission meets them."""

    # The envelope.
    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown-type"
    # Who signed it.
    NOT_A_MEMBER = "not-a-member"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    NOT_SUSPENDED = "not-suspended"
    NOT_YET_VALID = "not-yet-valid"
    CERTIFICATE_EXPIRED = "certificate-expired"
    WRONG_SENDER = "wrong-sender"
    WRONG_KEY_EPOCH = "wrong-key-epoch"
    UNKNOWN_KEY = "unknown-key"
    WEAK_KEY = "weak-key"
    BAD_SIGNATURE = "bad-signature"
    # What it is bound to.
    WRONG_NETWORK = "wrong-network"
    WRONG_NODE = "wrong-node"
    WRONG_PARENT = "wrong-parent"
    WRONG_SCOPE = "wrong-scope"
    WRONG_ROLE = "wrong-role"
    DUPLICATE_NODE = "duplicate-node"
    DUPLICATE_KEY = "duplicate-key"
    DUPLICATE_TRANSPORT_KEY = "duplicate-transport-key"
    SCOPE_TAKEN = "scope-taken"
    DUPLICATE_NAME = "duplicate-name"
    WRONG_BASE = "wrong-base"
    WRONG_BASIS = "wrong-basis"
    WRONG_TOKENIZER = "wrong-tokenizer"
    WRONG_LAYOUT = "wrong-layout"
    WRONG_MASK = "wrong-mask"
    UNKNOWN_TASK = "unknown-task"
    WRONG_TASK = "wrong-task"
    WRONG_NONCE = "wrong-nonce"
    WRONG_FORMAT = "wrong-format"
    FUTURE_VERSION = "future-version"
    STALE = "stale"
    # When.
    CLOCK_SKEW = "clock-skew"
    EXPIRED = "expired"
    LIFETIME_TOO_LONG = "lifetime-too-long"
    REPLAYED = "replayed"
    # The payload.
    PAYLOAD_TOO_LARGE = "payload-too-large"
    WRONG_LENGTH = "wrong-length"
    WRONG_DIGEST = "wrong-digest"
    BAD_TENSORS = "bad-tensors"
    WRONG_DTYPE = "wrong-dtype"
    WRONG_SHAPE = "wrong-shape"
    NOT_FINITE = "not-finite"
    NORM_TOO_LARGE = "norm-too-large"
    # Rounds and chains.
    ROUND_CLOSED = "round-closed"
    SUPERSEDED = "superseded"
    ALREADY_ANSWERED = "already-answered"
    VERSION_WENT_BACK = "version-went-back"
    INCONSISTENT_CHAIN = "inconsistent-chain"
    # The transport and this machine.
    PATH_NOT_EXPOSED = "path-not-exposed"
    BAD_TRANSPORT_KEY = "bad-transport-key"
    BAD_KEY_FILE = "bad-key-file"


class ProtocolError(Exception):
    """The root of this package's errors.

    Args:
        code: why, for programs.
        sentence: why and what was expected, for a person.
    """

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence


class Refused(ProtocolError):
    """A message or a value from a peer that is not accepted.

    ``claims`` is true when an update was refused after it had passed the check for replays: the
    caller then records, together with the refusal, that its task was answered.
    """

    def __init__(self, code: Code, sentence: str, *, claims: bool = False) -> None:
        super().__init__(code, sentence)
        self.claims = claims
