"""Say in one sentence why a link does not come about, and what a person can do about it."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

import httpx

from nodes.flower.errors import LinkDown, LinkError

_EXPIRED, _NOT_YET = 10, 9
_WRONG_NAME, _WRONG_IP = 62, 64
_UNKNOWN_AUTHORITY = {2, 18, 19, 20, 21, 24, 30}
"""OpenSSL's numbers for why a certificate is not accepted (X509_V_ERR_…)."""
_NO_WAY = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}

_REFUSALS = {
    "unknown-transport-key": "The parent does not know this node: it was suspended or revoked, "
    "or was enrolled at another parent. Ask the parent's operator to resume it, or to enrol it.",
    "clock-differs": "The parent did not accept this node's time even after it was corrected: set "
    "the clocks of both machines.",
}


def explain_failure(error: BaseException) -> LinkDown:
    """Explain why a request got no answer."""
    chain = list(_causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _certificate(cause)
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return LinkDown(
                "The parent's name does not resolve: check its spelling and this machine's DNS, or "
                "use an IP address in [uplink] addresses.",
                "unknown-name",
            )
        if isinstance(cause, ConnectionRefusedError):
            return LinkDown(
                "Nothing listens there: is the parent running, and is this its port?",
                "connection-refused",
            )
        if isinstance(cause, OSError) and cause.errno in _NO_WAY:
            return LinkDown(
                "No route leads there: check this machine's network, or the address.", "no-route"
            )
    if isinstance(error, httpx.TimeoutException):
        return LinkDown(
            "No answer came in time: is the machine on, and does a firewall let the port through?",
            "no-answer",
        )
    if isinstance(error, httpx.ProxyError):
        return LinkDown(
            f"The proxy refuses the connection ({error}): name the parent in NO_PROXY.",
            "proxy-refused",
        )
    if any(isinstance(cause, ssl.SSLError) for cause in chain):
        return LinkDown(
            "What listens there does not speak this parent's TLS: check the address.", "no-tls"
        )
    return LinkDown(f"{type(error).__name__}: {error}")


def explain(error: LinkError, address: str) -> str:
    """Say what a person should know of an error at this address, in one or two sentences."""
    return f"The parent at {address} cannot be reached. {_REFUSALS.get(error.code, error.sentence)}"


def _certificate(error: ssl.SSLCertVerificationError) -> LinkDown:
    match error.verify_code:
        case code if code in (_WRONG_NAME, _WRONG_IP):
            return LinkDown(
                "The parent's certificate does not hold this name or address: its operator adds it "
                "to [downlink] names, or another machine answers there.",
                "wrong-name",
            )
        case code if code == _EXPIRED:
            return LinkDown(
                "The parent's certificate has expired. If this machine's clock is right, its "
                "operator restarts the parent, which renews it.",
                "certificate-expired",
            )
        case code if code == _NOT_YET:
            return LinkDown(
                "The parent's certificate is not valid yet: set the clock of this machine, or of "
                "the parent's.",
                "certificate-not-yet-valid",
            )
        case code if code in _UNKNOWN_AUTHORITY:
            return LinkDown(
                "What answers there is not the parent that enrolled this node, or its keys were "
                "lost: check the address; otherwise its operator enrols this node again.",
                "unknown-authority",
            )
    return LinkDown(f"The parent's certificate is not accepted: {error.verify_message}.", "bad-tls")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it came from; libraries wrap those of the system."""
    seen: set[int] = set()
    present: BaseException | None = error
    while present is not None and id(present) not in seen:
        seen.add(id(present))
        yield present
        present = present.__cause__ or present.__context__
