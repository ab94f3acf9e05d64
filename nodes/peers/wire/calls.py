"""The calls of one service: who asks, how much he may, what is answered or why not.

A handler takes ``(caller, request)``. A plain function runs in a bounded pool of threads, an
``async`` one on the event loop; one that streams its answer returns an iterator. What it raises
becomes a status with a code and a sentence; any other error is ``failed`` and stands in the log.

Who calls is found out before a message is read, and again before each answer of a call that lasts:
he may have been shut out meanwhile.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from nodes.errors import NodeError
from nodes.peers.wire.caller import Caller, Identify, host_of, transport_of
from nodes.peers.wire.connections import Connections
from nodes.peers.wire.errors import PeerError, as_peer_error, metadata_of, sentence_of
from nodes.peers.wire.limits import LONG, Meter, WireLimits
from nodes.peers.wire.methods import METHODS, PACKAGE, Method, encode
from nodes.peers.wire.workers import Workers
from protocol import ProtocolError

log = structlog.get_logger()

Handler = Callable[..., Any]

_UNKNOWN = "An unknown call"


class Calls(grpc.GenericRpcHandler):
    """Answers the calls of one listener, on the event loop on which it is served.

    Args:
        handlers: by the names of the calls; another call is refused as ``not-offered``.
        identify: who has a transport key; None where nobody says who he is.
    """

    def __init__(
        self,
        service: str,
        handlers: Mapping[str, Handler],
        identify: Identify | None,
        limits: WireLimits,
        *,
        now_ms: Callable[[], int],
        on_refused: Callable[[str, str], None],
    ) -> None:
        self.limits, self._identify_by = limits, identify
        self._now_ms, self._on_refused = now_ms, on_refused
        self._meter = Meter(limits, time.monotonic)
        self._workers = Workers(limits, self._meter.charge)
        self._connections = Connections(limits.connections_of_one, limits.callers)
        self._offered = {
            METHODS[name].path: self._rpc(METHODS[name], handler)
            for name, handler in handlers.items()
        }
        assert all(path.startswith(f"/{PACKAGE}.{service}/") for path in self._offered)  # noqa: S101
        self._unknown: Any = grpc.stream_stream_rpc_method_handler(self._refuse_unknown)

    def service(self, handler_call_details: Any) -> Any:
        """Return what answers a call: gRPC asks."""
        return self._offered.get(handler_call_details.method, self._unknown)

    @property
    def running(self) -> Mapping[str, int]:
        """How many calls of each caller run. Thread-safe."""
        return self._meter.figures()

    def shutdown(self) -> None:
        """Begin no work any more."""
        self._workers.shutdown()

    # -- one call

    def _rpc(self, method: Method, handler: Handler) -> Any:
        async def unary(data: bytes, context: Any) -> Any:
            try:
                caller = self._admit(context)
                with self._meter.call(meter_name(caller), method.name):
                    request = _read(method, data)
                    async with asyncio.timeout(self.limits.unary_s):
                        reply = await self._answer(handler, caller, request)
                    if method.name in LONG:
                        self._identify(context)
                    return reply
            except Exception as error:
                await self._refuse(context, method.name, error)

        async def streamed(given: Any, context: Any) -> AsyncIterator[Message]:
            try:
                caller = self._admit(context)
                with self._meter.call(meter_name(caller), method.name):
                    request: Any = _read(method, given) if not method.streams_in else None
                    if method.streams_in:
                        request = self._metered(caller, method, given, context)
                    async for reply in self._stream(handler, caller, request):
                        self._identify(context)
                        yield reply
            except Exception as error:
                await self._refuse(context, method.name, error)

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[method.streams_in, method.streams_out]
        # Requests stay bytes: they are read once it is known who asks.
        return make(streamed if method.streams_out else unary, None, encode)

    async def _refuse_unknown(self, _: Any, context: Any) -> None:
        try:
            with self._meter.call(meter_name(self._admit(context)), ""):
                raise PeerError("not-offered", "This node does not offer this call here.")
        except Exception as error:
            await self._refuse(context, _UNKNOWN, error)

    def _admit(self, context: Any) -> Caller:
        """Find out who calls, and on which connection."""
        caller = self._identify(context)
        self._connections.seen(meter_name(caller), context.peer())
        return caller

    def _identify(self, context: Any) -> Caller:
        address = host_of(context.peer())
        if self._identify_by is None:
            return Caller(None, None, "", address)
        pem = context.auth_context().get("x509_pem_cert", [b""])[0]
        transport, until_ms = transport_of(pem)
        if self._now_ms() > until_ms:
            raise PeerError(
                "certificate-expired",
                "The link certificate of this connection has ended: renew it, then connect again.",
            )
        return self._identify_by(transport, address)

    async def _answer(self, handler: Handler, caller: Caller, request: Message) -> Any:
        if inspect.iscoroutinefunction(handler):
            return await handler(caller, request)
        return await self._workers.run(meter_name(caller), handler, caller, request)

    async def _stream(
        self, handler: Handler, caller: Caller, request: Any
    ) -> AsyncIterator[Message]:
        if inspect.isasyncgenfunction(handler):
            async for reply in handler(caller, request):
                yield reply
            return
        name = meter_name(caller)
        replies: Iterator[Message] = await self._workers.run(name, handler, caller, request)
        try:
            while (reply := await self._workers.run(name, next, replies, None)) is not None:
                yield reply
        finally:
            self._workers.close_soon(replies)

    async def _metered(
        self, caller: Caller, method: Method, messages: AsyncIterator[bytes], context: Any
    ) -> Any:
        """Hand on what a caller streams, up to what it may send."""
        count = 0
        async for message in messages:
            self._identify(context)
            self._meter.spend(meter_name(caller))
            count += 1
            if count > self.limits.stream_messages:
                raise PeerError("too-large", "The stream has more messages than are allowed.")
            yield _read(method, message)

    async def _refuse(self, context: Any, name: str, error: Exception) -> None:
        """End a call with a status that has a code and a sentence."""
        if isinstance(error, NodeError | ProtocolError):
            told = as_peer_error(error)
        elif isinstance(error, TimeoutError):
            told = PeerError("too-slow", f"{name} took too long here.", 5000)
        else:
            log.exception("peer-call-failed", call=name, exc_info=error)
            told = PeerError("failed", f"The call failed here: {type(error).__name__}.", 5000)
        self._on_refused(told.code, f"{name} from {host_of(context.peer())}.")
        await context.abort(told.status, sentence_of(told), metadata_of(told))


def meter_name(caller: Caller) -> str:
    """Return for whom a call counts: a member, else an address, of IPv6 the network that one
    machine has."""
    if caller.node is not None:
        return caller.node
    if ":" not in caller.address:
        return caller.address
    with suppress(ValueError):
        address = caller.address.partition("%")[0]
        return str(ipaddress.ip_network((address, 64), strict=False))
    return caller.address


def _read(method: Method, data: bytes) -> Message:
    try:
        return method.request.FromString(data)
    except DecodeError:
        raise PeerError("malformed", f"The message is no {method.request.__name__}.") from None
