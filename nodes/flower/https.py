"""A child's HTTPS to its parent: trust, signing, counting, and the meaning of a refusal.

It speaks Flower's headers without importing Flower: Flower's own interceptors import its server,
and one of them ends the process when the other side names another version.
"""

from __future__ import annotations

import json
import ssl
import threading
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from nodes.errors import NodeError
from nodes.flower.errors import LinkDown, Refusal
from nodes.flower.traffic import Meter, head_bytes
from nodes.trust.transport_keys import load_transport_private, transport_public_pem

MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""Flower cuts arrays into pieces of 5 MiB, one response each."""

_LOOPBACK = ("127.", "localhost:", "[::1]:")


def trust(ca_pem: bytes) -> ssl.SSLContext:
    """Make a TLS 1.3 context that accepts only what this authority signed.

    Raises ``NodeError`` ``bad-authority``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=ca_pem.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError, ValueError):
        raise NodeError("bad-authority", "The parent's authority is not a PEM file.") from None
    return context


def http_client(address: str, context: ssl.SSLContext) -> httpx.Client:
    """Make a client without redirects and proxies.

    A redirect would carry signed headers elsewhere, and a proxy is not asked for this machine's own
    addresses. A response without an end is not read.
    """
    return httpx.Client(
        verify=context,
        trust_env=not address.startswith(_LOOPBACK),
        timeout=httpx.Timeout(30, connect=5, pool=60),
        limits=httpx.Limits(max_connections=4, keepalive_expiry=45),
        event_hooks={"response": [_refuse_long_responses]},
    )


class Signer:
    """Signs each request with the transport key, and counts its bytes and its response's."""

    def __init__(self, private_pem: bytes, meter: Meter) -> None:
        self._key = load_transport_private(private_pem)
        self._public = b64encode(transport_public_pem(private_pem)).decode("ascii")
        self._meter = meter
        self._lock = threading.Lock()
        self._last = datetime.fromtimestamp(0, UTC)

    def headers(self) -> dict[str, str]:
        """Make fresh signed headers. No two carry the same time: the door admits each once."""
        with self._lock:
            self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
            stamp = self._last.isoformat()
        signature = self._key.sign(stamp.encode("ascii"), ec.ECDSA(hashes.SHA256()))
        return {
            "flwr-public-key": self._public,
            "flwr-timestamp": stamp,
            "flwr-signature": b64encode(signature).decode("ascii"),
        }

    def intercept(self, context: Any, call_next: Any) -> httpx.Response:
        """Sign and count a request in the form in which Flower's client calls an interceptor."""
        request: httpx.Request = context.request
        request.headers.update(self.headers())
        line = len(request.method) + len(request.url.raw_path) + len(" HTTP/1.1\r\n")
        sent = head_bytes(request.headers.raw, line) + len(request.content)
        self._meter.add(bytes_out=sent)
        response: httpx.Response = call_next(context)
        first_line = len("HTTP/1.1 200 OK\r\n")
        got = head_bytes(response.headers.raw, first_line) + response.num_bytes_downloaded
        self._meter.add(bytes_in=got)
        return response


def explain_refusal(response: httpx.Response) -> Refusal | LinkDown:
    """Explain a response of 400 and above. 5xx is no decision: the link is down."""
    status = response.status_code
    try:
        refusal = json.loads(response.text)
        code, detail = str(refusal["code"])[:64], str(refusal["detail"])[:200]
    except (ValueError, KeyError, TypeError):
        code, detail = f"http-{status}", response.text[:200]
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return LinkDown(f"The parent answered {status}: {detail}")
    return Refusal(status, code, detail)


def _refuse_long_responses(response: httpx.Response) -> None:
    length = response.headers.get("content-length", "")
    if not length.isdigit() or int(length) > MAX_RESPONSE_BYTES:
        raise httpx.DecodingError(f"The parent's response has {length or 'unknown'} bytes.")
