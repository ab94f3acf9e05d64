"""A child's HTTPS to its parent: trust, signing, counting, and the meaning of a refusal.

It speaks Flower's headers without importing Flower: Flower's own interceptors import its server,
and one of them ends the process when the other side names another version.
"""

from __future__ import annotations

import json
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from nodes.config.addresses import Address
from nodes.errors import NodeError
from nodes.flower.errors import LinkDown, Refusal
from nodes.flower.parent_clock import TIME_HEADER, ParentClock
from nodes.flower.proxies import proxy_for
from nodes.flower.traffic import Meter, head_bytes
from nodes.trust.transport_keys import load_transport_private, transport_public_pem

MAX_RESPONSE_BYTES = 8 * 1024 * 1024
"""Flower cuts arrays into pieces of 5 MiB, one response each."""

ANOTHER_TIME = {"clock-differs", "replayed-request"}
"""Refusals of a stamp, after which one made with the door's time is admitted."""


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
    """Make a client without redirects.

    A redirect would carry signed headers elsewhere. A response without an end is not read. Raises
    ``LinkDown`` ``bad-proxy`` where the environment names a proxy that cannot be used.
    """
    try:
        return httpx.Client(
            verify=context,
            trust_env=False,
            proxy=proxy_for(Address.parse(address)),
            timeout=httpx.Timeout(30, connect=5, pool=60),
            limits=httpx.Limits(max_connections=4, keepalive_expiry=45),
            event_hooks={"response": [_refuse_long_responses]},
        )
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        raise LinkDown(
            f"The environment names a proxy that cannot be used ({error}): correct it, or name "
            "the parent in NO_PROXY.",
            "bad-proxy",
        ) from None


class Ways:
    """The clients for the addresses of one parent, each made when it is first needed.

    All are kept until ``close``: a thread may still be reading from one.
    """

    def __init__(self, ca_pem: bytes) -> None:
        self._context = trust(ca_pem)
        self._clients: dict[str, httpx.Client] = {}
        self._retired: list[httpx.Client] = []

    def client(self, address: str) -> httpx.Client:
        """Return the client for ``host:port``. Raises ``LinkDown`` as ``http_client`` does."""
        if address not in self._clients:
            self._clients[address] = http_client(address, self._context)
        return self._clients[address]

    def trust(self, ca_pem: bytes) -> None:
        """Trust this authority in connections from now on. Raises ``NodeError``."""
        self._context = trust(ca_pem)
        self._retired += self._clients.values()
        self._clients = {}

    def close(self) -> None:
        """Close the connections; no other thread may be using them."""
        for client in (*self._retired, *self._clients.values()):
            client.close()


class Signer:
    """Signs each request with the transport key, and counts its bytes and its response's."""

    def __init__(self, private_pem: bytes, meter: Meter, clock: ParentClock | None = None) -> None:
        self.clock = clock or ParentClock()
        self._key = load_transport_private(private_pem)
        self._public = b64encode(transport_public_pem(private_pem)).decode("ascii")
        self._meter = meter
        self._adding = threading.local()

    @contextmanager
    def adding(self, headers: Mapping[str, str]) -> Iterator[None]:
        """Add these headers, unsigned, to the requests of this thread within the context."""
        self._adding.headers = headers
        try:
            yield
        finally:
            self._adding.headers = {}

    def headers(self) -> dict[str, str]:
        """Make fresh signed headers. No two carry the same time: the door admits each once."""
        stamp = self.clock.stamp().isoformat()
        signature = self._key.sign(stamp.encode("ascii"), ec.ECDSA(hashes.SHA256()))
        return {
            "flwr-public-key": self._public,
            "flwr-timestamp": stamp,
            "flwr-signature": b64encode(signature).decode("ascii"),
        }

    def intercept(self, context: Any, call_next: Any) -> httpx.Response:
        """Sign and count a request in the form in which Flower's client calls an interceptor.

        A request whose time was refused is sent once more, with the time that the door named.
        """
        response = self._send(context, call_next)
        if response.is_error and explain_refusal(response).code in ANOTHER_TIME:
            response = self._send(context, call_next)
        return response

    def _send(self, context: Any, call_next: Any) -> httpx.Response:
        request: httpx.Request = context.request
        request.headers.update(self.headers())
        request.headers.update(getattr(self._adding, "headers", {}))
        line = len(request.method) + len(request.url.raw_path) + len(" HTTP/1.1\r\n")
        sent = head_bytes(request.headers.raw, line) + len(request.content)
        self._meter.add(bytes_out=sent)
        response: httpx.Response = call_next(context)
        self.clock.learn(response.headers.get(TIME_HEADER))
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
