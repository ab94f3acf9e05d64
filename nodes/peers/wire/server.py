"""Listeners of one node: gRPC over TLS on an event loop in a thread of its own.

What a connection may cost is bounded here, before anybody calls; calls are answered in ``calls``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from nodes.errors import NodeError
from nodes.peers.wire.caller import Identify
from nodes.peers.wire.calls import Calls, Handler
from nodes.peers.wire.limits import FOR_STRANGERS, WireLimits

log = structlog.get_logger()

START_S, GRACE_S = 30.0, 1.0


@dataclass(frozen=True)
class ServerTls:
    """What a listener shows, and whom it believes; all PEM.

    ``authority`` None: nobody needs a client certificate.
    """

    certificate: bytes
    key: bytes
    authority: bytes | None


@dataclass(frozen=True)
class Listener:
    """One service at one place.

    Attributes:
        service: ``Peer`` or ``Enrolment``.
        handlers: by the names of the calls; those that are missing are not offered.
        port: 0 for one that is free.
        tls: asked at every new connection, so that a renewed certificate is served at once.
        identify: who has a transport key; None where nobody says who he is.
    """

    service: str
    handlers: Mapping[str, Handler]
    host: str
    port: int
    tls: Callable[[], ServerTls]
    identify: Identify | None

    @property
    def default_limits(self) -> WireLimits:
        """What is allowed unless something else is said."""
        return WireLimits() if self.identify else FOR_STRANGERS


class PeerServer:
    """Serves some listeners from ``start`` to ``stop``.

    Args:
        on_refused: told of every refusal: its code and a short detail; it must be quick.
        now_ms: this machine's time, for certificates that end while a connection is open.
        limits: of each listener, by default its ``default_limits``.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        now_ms: Callable[[], int],
        on_refused: Callable[[str, str], None] = lambda _code, _detail: None,
        limits: WireLimits | None = None,
    ) -> None:
        self._services = [
            (
                listener,
                Calls(
                    listener.service,
                    listener.handlers,
                    listener.identify,
                    limits or listener.default_limits,
                    now_ms=now_ms,
                    on_refused=on_refused,
                ),
            )
            for listener in listeners
        ]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._started, self._failure = threading.Event(), ""
        self.ports: tuple[int, ...] = ()
        self._thread = threading.Thread(target=self._run, name="peer-server", daemon=True)

    def start(self) -> None:
        """Listen. Raises ``NodeError`` ``cannot-listen``."""
        self._thread.start()
        self._started.wait(START_S)
        if self._failure or not self._started.is_set():
            raise NodeError("cannot-listen", self._failure or "The peer service did not start.")

    def stop(self) -> None:
        """Stop listening; a second call does nothing."""
        loop, stop = self._loop, self._stop
        if loop is not None and stop is not None and self._thread.is_alive():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)
            self._thread.join()
        for _, calls in self._services:
            calls.shutdown()

    def call_soon(self, work: Callable[[], object]) -> None:
        """Run something small on the event loop: how other threads wake a waiting handler."""
        if self._loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(work)

    @property
    def calls(self) -> Mapping[str, int]:
        """How many calls run at all listeners, by who makes them. Thread-safe."""
        return {name: count for _, calls in self._services for name, count in calls.running.items()}

    # -- the thread

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        servers: list[Any] = []
        try:
            ports = []
            for listener, calls in self._services:
                server = grpc.aio.server(options=_options(calls.limits))
                servers.append(server)
                server.add_generic_rpc_handlers((calls,))
                ports.append(self._bind(server, listener))
                await server.start()
            self.ports = tuple(ports)
            self._started.set()
            await self._stop.wait()
        except NodeError as error:
            self._failure = error.sentence
        except Exception as error:
            log.exception("peer-server-failed")
            self._failure = f"The peer service did not start: {error}."
        finally:
            for server in servers:
                await server.stop(GRACE_S)
            self._started.set()

    @staticmethod
    def _bind(server: Any, listener: Listener) -> int:
        shown = listener.tls()

        def newer() -> Any:
            """Return another configuration than the last one, if there is one."""
            nonlocal shown
            tls = listener.tls()
            if tls == shown:
                return None
            shown = tls
            return _configuration(tls)

        credentials = grpc.dynamic_ssl_server_credentials(
            _configuration(shown),
            newer,
            require_client_authentication=listener.identify is not None,
        )
        host = f"[{listener.host}]" if ":" in listener.host else listener.host
        try:
            port: int = server.add_secure_port(f"{host}:{listener.port}", credentials)
        except RuntimeError:
            port = 0
        if port == 0:
            raise NodeError(
                "cannot-listen",
                f"Cannot listen on {host}:{listener.port} for the peer service. Set [peers] ports "
                "to ones that are free, or host to an address of this machine.",
            )
        return port


def _configuration(tls: ServerTls) -> Any:
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.certificate)], root_certificates=tls.authority
    )


def _options(limits: WireLimits) -> list[tuple[str, int]]:
    """Return gRPC's own limits: what they refuse costs no call of ours."""
    streams = limits.at_once + limits.long_at_once + 4
    pending = 2 * limits.in_all
    return [
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.server_handshake_timeout_ms", round(limits.handshake_s * 1000)),
        ("grpc.max_connection_age_ms", round(limits.connection_age_s * 1000)),
        ("grpc.max_connection_age_grace_ms", 60_000),
        ("grpc.max_connection_idle_ms", round(limits.idle_s * 1000)),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
        ("grpc.max_concurrent_streams", streams),
        # Calls that wait to be looked at; by default some of 1,000 are cancelled without a word.
        ("grpc.server.max_pending_requests", pending),
        ("grpc.server.max_pending_requests_hard_limit", 2 * pending),
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", 64 * 1024 * 1024),
        ("grpc.max_metadata_size", 8 * 1024),
        ("grpc.absolute_max_metadata_size", 16 * 1024),
        ("grpc.so_reuseport", 0),
    ]
