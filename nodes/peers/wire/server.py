"""Listeners of one node: gRPC over TLS on an event loop in a thread of its own.

A handler takes ``(caller, request)``. A plain function runs in a bounded pool of threads, an
``async`` one on the event loop; one that streams its answer returns an iterator. What it raises
becomes a status with a code and a sentence; any other error is ``failed`` and stands in the log.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message

from nodes.errors import NodeError
from nodes.peers.wire.caller import Caller, Identify, host_of, transport_of
from nodes.peers.wire.errors import PeerError, as_peer_error, metadata_of, sentence_of
from nodes.peers.wire.limits import Meter, WireLimits
from nodes.peers.wire.methods import METHODS, PACKAGE, Method, decoder, encode
from protocol import ProtocolError

log = structlog.get_logger()

START_S, GRACE_S = 30.0, 1.0

Handler = Callable[..., Any]


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


class PeerServer:
    """Serves some listeners from ``start`` to ``stop``.

    Args:
        on_refused: told of every refusal: its code and a short detail; it must be quick.
        now_ms: this machine's time, for certificates that end while a connection is open.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        now_ms: Callable[[], int],
        on_refused: Callable[[str, str], None] = lambda _code, _detail: None,
        limits: WireLimits | None = None,
    ) -> None:
        self._listeners, self._now_ms, self._on_refused = listeners, now_ms, on_refused
        self._limits = limits or WireLimits()
        self._meter = Meter(self._limits, time.monotonic)
        self._pool = ThreadPoolExecutor(self._limits.threads, "peer-call")
        self._queued = 0
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
        self._pool.shutdown(wait=False, cancel_futures=True)

    def call_soon(self, work: Callable[[], object]) -> None:
        """Run something small on the event loop: how other threads wake a waiting handler."""
        if self._loop is not None and self._thread.is_alive():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(work)

    # -- the thread

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        servers: list[Any] = []
        try:
            ports = []
            for listener in self._listeners:
                server = grpc.aio.server(options=self._options())
                servers.append(server)
                server.add_generic_rpc_handlers((self._handlers(listener),))
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

    def _options(self) -> list[tuple[str, int]]:
        limits = self._limits
        return [
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_send_message_length", 64 * 1024 * 1024),
            ("grpc.max_concurrent_streams", limits.at_once + limits.long_at_once + 4),
            ("grpc.max_connection_age_ms", round(limits.connection_age_s * 1000)),
            ("grpc.max_connection_age_grace_ms", 60_000),
            ("grpc.max_connection_idle_ms", 10 * 60_000),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            ("grpc.max_metadata_size", 16 * 1024),
            ("grpc.so_reuseport", 0),
        ]

    @staticmethod
    def _bind(server: Any, listener: Listener) -> int:
        def configuration() -> Any:
            tls = listener.tls()
            return grpc.ssl_server_certificate_configuration(
                [(tls.key, tls.certificate)], root_certificates=tls.authority
            )

        credentials = grpc.dynamic_ssl_server_credentials(
            configuration(),
            configuration,
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

    # -- calls

    def _handlers(self, listener: Listener) -> Any:
        methods = {name: METHODS[name] for name in listener.handlers}
        wrapped = {
            name: _rpc_handler(method, self._wrapped(listener, method, listener.handlers[name]))
            for name, method in methods.items()
        }
        return grpc.method_handlers_generic_handler(f"{PACKAGE}.{listener.service}", wrapped)

    def _wrapped(self, listener: Listener, method: Method, handler: Handler) -> Handler:
        async def unary(request: Message, context: Any) -> Any:
            try:
                caller = self._identify(listener, context)
                with self._meter.call(_meter_name(caller), method.name):
                    async with asyncio.timeout(self._limits.unary_s):
                        return await self._answer(handler, caller, request)
            except Exception as error:
                await self._refuse(context, method, error)

        async def streamed(request: Any, context: Any) -> AsyncIterator[Message]:
            try:
                caller = self._identify(listener, context)
                with self._meter.call(_meter_name(caller), method.name):
                    given = self._metered(caller, request) if method.streams_in else request
                    async for reply in self._stream(handler, caller, given):
                        yield reply
            except Exception as error:
                await self._refuse(context, method, error)

        return streamed if method.streams_out else unary

    def _identify(self, listener: Listener, context: Any) -> Caller:
        address = host_of(context.peer())
        if listener.identify is None:
            return Caller(None, None, "", address)
        pem = context.auth_context().get("x509_pem_cert", [b""])[0]
        transport, until_ms = transport_of(pem)
        if self._now_ms() > until_ms:
            raise PeerError(
                "certificate-expired",
                "The link certificate of this connection has ended: renew it, then connect again.",
            )
        return listener.identify(transport, address)

    async def _answer(self, handler: Handler, caller: Caller, request: Message) -> Any:
        if inspect.iscoroutinefunction(handler):
            return await handler(caller, request)
        return await self._in_thread(handler, caller, request)

    async def _stream(
        self, handler: Handler, caller: Caller, request: Any
    ) -> AsyncIterator[Message]:
        if inspect.isasyncgenfunction(handler):
            async for reply in handler(caller, request):
                yield reply
            return
        replies: Iterator[Message] = await self._in_thread(handler, caller, request)
        try:
            while (reply := await self._in_thread(next, replies, None)) is not None:
                yield reply
        finally:
            if close := getattr(replies, "close", None):
                await self._in_thread(close)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run in the pool, unless too much waits for it already."""
        if self._queued >= self._limits.waiting:
            raise PeerError("overloaded", "This node answers as many calls as it can.", 2000)
        self._queued += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._queued -= 1

    async def _metered(self, caller: Caller, messages: AsyncIterator[Message]) -> Any:
        """Hand on what a caller streams, up to what it may send."""
        count = 0
        async for message in messages:
            self._meter.spend(_meter_name(caller))
            count += 1
            if count > self._limits.stream_messages:
                raise PeerError("too-large", "The stream has more messages than are allowed.")
            yield message

    async def _refuse(self, context: Any, method: Method, error: Exception) -> None:
        """End a call with a status that has a code and a sentence."""
        if isinstance(error, NodeError | ProtocolError):
            told = as_peer_error(error)
        elif isinstance(error, TimeoutError):
            told = PeerError("too-slow", f"{method.name} took too long here.", 5000)
        else:
            log.exception("peer-call-failed", call=method.name, exc_info=error)
            told = PeerError("failed", f"The call failed here: {type(error).__name__}.", 5000)
        self._on_refused(told.code, f"{method.name} from {host_of(context.peer())}.")
        await context.abort(told.status, sentence_of(told), metadata_of(told))


def _meter_name(caller: Caller) -> str:
    return caller.node or caller.address


def _rpc_handler(method: Method, wrapped: Handler) -> Any:
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[method.streams_in, method.streams_out]
    return make(wrapped, decoder(method.request), encode)
