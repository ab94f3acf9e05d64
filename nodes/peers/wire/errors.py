"""Refusals between peers: a code, a sentence, and when asking again makes sense."""

from __future__ import annotations

from typing import Any

import grpc

from nodes.errors import NodeError
from protocol import ProtocolError

CODE_KEY, RETRY_KEY = "banyan-code", "banyan-retry-ms"
_MOST_SENTENCE = 500

LINK_DOWN, HANDSHAKE_REFUSED, TOO_SLOW = "link-down", "handshake-refused", "too-slow"
NO_ADDRESS = "no-address"

STATUSES = {
    "malformed": grpc.StatusCode.INVALID_ARGUMENT,
    "too-large": grpc.StatusCode.INVALID_ARGUMENT,
    "not-here": grpc.StatusCode.NOT_FOUND,
    "unknown-update": grpc.StatusCode.NOT_FOUND,
    "too-many-calls": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "failed": grpc.StatusCode.INTERNAL,
    LINK_DOWN: grpc.StatusCode.UNAVAILABLE,
    TOO_SLOW: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""The gRPC status of a code; every other one is ``PERMISSION_DENIED``."""


class PeerError(NodeError):
    """A call that another node refused, or that did not get through.

    Attributes:
        retry_ms: asking again makes sense after so many milliseconds; None if it does not.
        status: the gRPC status it travels as.
    """

    def __init__(self, code: str, sentence: str, retry_ms: int | None = None) -> None:
        super().__init__(code, sentence)
        self.retry_ms = retry_ms

    @property
    def status(self) -> grpc.StatusCode:
        """The gRPC status of this error."""
        return STATUSES.get(self.code, grpc.StatusCode.PERMISSION_DENIED)

    @property
    def is_down(self) -> bool:
        """Whether nobody answered: another address or a later moment may help."""
        return self.code in (LINK_DOWN, NO_ADDRESS, HANDSHAKE_REFUSED, TOO_SLOW)


def as_peer_error(error: NodeError | ProtocolError) -> PeerError:
    """Return the error as it is told to another node."""
    if isinstance(error, PeerError):
        return error
    return PeerError(str(error.code), error.sentence)


def metadata_of(error: PeerError) -> tuple[tuple[str, str], ...]:
    """Return the trailing metadata that carry the code and the time to come back."""
    pairs = ((CODE_KEY, error.code),)
    return pairs if error.retry_ms is None else (*pairs, (RETRY_KEY, str(error.retry_ms)))


def sentence_of(error: PeerError) -> str:
    """Return the sentence as a status message can carry it."""
    return error.sentence[:_MOST_SENTENCE]


def read_error(error: grpc.RpcError) -> PeerError:
    """Read what a call ended with."""
    trailing: Any = error.trailing_metadata() or ()
    pairs = {str(key): value for key, value in trailing}
    details, status = str(error.details() or ""), error.code()
    code, retry = pairs.get(CODE_KEY), pairs.get(RETRY_KEY)
    if code is not None:
        wait = int(retry) if isinstance(retry, str | bytes) and retry.isdigit() else None
        return PeerError(_text(code)[:64], details[:_MOST_SENTENCE], wait)
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return PeerError(TOO_SLOW, "The other node did not answer in time.")
    if status is grpc.StatusCode.UNAVAILABLE and "Socket closed" in details:
        return PeerError(
            HANDSHAKE_REFUSED,
            "The other node ended the handshake: this node's link certificate is missing, has "
            "ended, or is of another circle.",
        )
    if status is grpc.StatusCode.UNAVAILABLE and "error code 7" in details:  # REFUSED_STREAM
        return PeerError("too-many-calls", "Too many calls run on one connection.", 1000)
    if status is grpc.StatusCode.UNAVAILABLE and "verif" in details.lower():
        return PeerError("unknown-authority", "Another node answers there than the one expected.")
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return PeerError("too-large", details[:_MOST_SENTENCE])
    if status is grpc.StatusCode.UNIMPLEMENTED:
        return PeerError("not-offered", "The other node does not offer this.")
    return PeerError(LINK_DOWN, f"The other node does not answer: {details[:200]}")


def _text(value: str | bytes) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
