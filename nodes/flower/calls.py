"""Ask the services of a parent beside Flower's: over the same door, with the same key."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Sequence

import httpx

from nodes.flower.diagnosis import explain_failure
from nodes.flower.errors import LinkDown
from nodes.flower.guard import SERVICE_PREFIX
from nodes.flower.https import ANOTHER_TIME, Signer, Ways, explain_refusal, http_client
from nodes.flower.parent_clock import TIME_HEADER, ParentClock
from nodes.flower.traffic import Meter
from nodes.machine.clock import Clock


class ServiceCalls:
    """Requests to one parent's services. Thread-safe: one request at a time.

    Args:
        addresses: where the parent is, each ``host:port``, asked at every request.
        ca_pem: what the parent's certificate must chain to.
        transport_key_pem: the private key that the parent admitted.
        clock: the machine's; by default the real one.
    """

    def __init__(
        self,
        addresses: Callable[[], Sequence[str]],
        ca_pem: bytes,
        transport_key_pem: bytes,
        clock: Clock | None = None,
    ) -> None:
        self._addresses, self._ways = addresses, Ways(ca_pem)
        self._signer = Signer(transport_key_pem, Meter(), ParentClock(clock))
        self._lock = threading.Lock()

    def signed(self, service: str, body: bytes) -> bytes:
        """Ask a service for members. Raises ``Refusal`` or ``LinkDown``."""
        return self._anywhere(lambda address: self._ask(address, service, body))

    def unverified(self, service: str, body: bytes) -> bytes:
        """Ask an open service without a check of the parent's certificate, and unsigned.

        The answer is worth what its own signature is. Raises ``Refusal`` or ``LinkDown``.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

        def ask(address: str) -> bytes:
            with http_client(address, context) as client:
                return _content(client.post(_url(address, service), content=body))

        return self._anywhere(ask)

    def trust(self, ca_pem: bytes) -> None:
        """Trust this authority from the next request on. Raises ``NodeError``."""
        self._ways.trust(ca_pem)

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            self._ways.close()

    def _anywhere(self, ask: Callable[[str], bytes]) -> bytes:
        """Ask at each address until one answers. A refusal is an answer."""
        down = LinkDown("No address of the parent is known: set [uplink] addresses.")
        with self._lock:
            for address in self._addresses():
                try:
                    return ask(address)
                except LinkDown as error:
                    down = error
                except (httpx.HTTPError, ssl.SSLError, OSError, RuntimeError) as error:
                    down = explain_failure(error)
        raise down

    def _ask(self, address: str, service: str, body: bytes) -> bytes:
        client = self._ways.client(address)
        for _ in range(2):  # the second time with the time that the door named
            headers = self._signer.headers()
            response = client.post(_url(address, service), content=body, headers=headers)
            self._signer.clock.learn(response.headers.get(TIME_HEADER))
            if not response.is_error or explain_refusal(response).code not in ANOTHER_TIME:
                break
        return _content(response)


def _url(address: str, service: str) -> str:
    return f"https://{address}{SERVICE_PREFIX}{service}"


def _content(response: httpx.Response) -> bytes:
    if response.is_error:
        raise explain_refusal(response)
    return response.content
