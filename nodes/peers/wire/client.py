"""Ask another node: a channel that tries its addresses in turn."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from nodes.config.addresses import Address
from nodes.peers.wire.errors import LINK_DOWN, NO_ADDRESS, PeerError, read_error
from nodes.peers.wire.methods import METHODS, Method, decoder, encode

CALL_S = 30.0
_TRIES = 2
_CLOSED = PeerError(LINK_DOWN, "The connection was closed during the call.", 100)
_OPTIONS = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


@dataclass(frozen=True)
class Credentials:
    """What a channel believes, and what it shows; all PEM.

    Attributes:
        authority: what the other node's certificate must chain to, or that certificate itself.
        certificate, key: this node's link certificate and key; None for service ``Enrolment``.
    """

    authority: bytes
    certificate: bytes | None = None
    key: bytes | None = None


class PeerChannel:
    """Calls to one other node. Thread-safe.

    Args:
        addresses: where it may be, each ``host:port``, asked whenever a connection is made.
        credentials: asked likewise.
        expected: the DNS name in its certificate, see ``peer_name``.
        on_connected: told of the address at which a call was answered.
    """

    def __init__(
        self,
        addresses: Callable[[], Sequence[str]],
        credentials: Callable[[], Credentials],
        expected: str,
        on_connected: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._addresses, self._credentials = addresses, credentials
        self._expected, self._on_connected = expected, on_connected
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}
        self._last = ""

    def ask(self, name: str, request: Message, timeout_s: float = CALL_S) -> Any:
        """Make a call with one answer; return it.

        Raises ``PeerError``: what the other node refused, ``link-down`` where no address answers.
        """
        method = METHODS[name]

        def call(channel: grpc.Channel) -> Any:
            unary = channel.unary_unary(
                method.path, request_serializer=encode, response_deserializer=decoder(method.reply)
            )
            return unary(request, timeout=timeout_s)

        return self._anywhere(call)

    def stream(
        self, name: str, request: Message | Iterator[Message], timeout_s: float | None = CALL_S
    ) -> Iterator[Any]:
        """Make a call that answers with a stream; yield its messages.

        The stream is cancelled when the iterator is closed. Raises as ``ask``, at the first message
        or at any later one; only the first tries other addresses.
        """
        method = METHODS[name]

        def begin(channel: grpc.Channel) -> tuple[Any, Any]:
            call: Any = _streaming(channel, method)(request, timeout=timeout_s)
            return call, next(call, None)

        call, message = self._anywhere(begin)
        try:
            while message is not None:
                yield message
                message = next(call, None)
        except grpc.RpcError as error:
            raise read_error(error) from None
        finally:
            call.cancel()

    @property
    def last(self) -> str:
        """The address at which a call was answered last; empty if none was."""
        return self._last

    def renew(self) -> None:
        """Make new connections from now on: a channel keeps the credentials it was made with."""
        self.close()

    def close(self) -> None:
        """Close the connections; what runs on them ends."""
        with self._lock:
            channels, self._channels = self._channels, {}
        for channel in channels.values():
            channel.close()

    def _anywhere(self, call: Callable[[grpc.Channel], Any]) -> Any:
        """Call at each address until one answers. A refusal is an answer."""
        down = PeerError(NO_ADDRESS, "No address of the other node is known.")
        known = self._addresses()
        for address in sorted(known, key=lambda a: a != self._last):
            for attempt in range(_TRIES):
                try:
                    answer = call(self._channel(address))
                except (grpc.RpcError, ValueError) as error:
                    # ``renew`` closed the channel under the call: the next one is new.
                    if _was_closed(error) and attempt + 1 < _TRIES:
                        continue
                    down = read_error(error) if isinstance(error, grpc.RpcError) else _CLOSED
                    if not down.is_down and down.code != "unknown-authority":
                        raise down from None
                    break
                if address != self._last:
                    self._last = address
                    self._on_connected(address)
                return answer
        raise down

    def _channel(self, address: str) -> grpc.Channel:
        with self._lock:
            if address not in self._channels:
                given = self._credentials()
                secure = grpc.ssl_channel_credentials(given.authority, given.key, given.certificate)
                options = [*_OPTIONS, ("grpc.ssl_target_name_override", self._expected)]
                self._channels[address] = grpc.secure_channel(address, secure, options)
            return self._channels[address]


def _was_closed(error: grpc.RpcError | ValueError) -> bool:
    return isinstance(error, ValueError) or error.code() is grpc.StatusCode.CANCELLED


def pinned_leaf(address: str, timeout_s: float = 10.0) -> bytes:
    """Return the certificate that a node shows, PEM; nothing of it is verified.

    It serves as the only root of a channel over which a signed answer comes. Raises ``PeerError``
    ``link-down``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    place = Address.parse(address)
    try:
        with (
            socket.create_connection((place.host, place.port), timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=place.host) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except OSError as error:
        raise PeerError(LINK_DOWN, f"{address} does not answer: {error}.") from None
    if not shown:
        raise PeerError(LINK_DOWN, f"{address} shows no certificate.")
    return ssl.DER_cert_to_PEM_cert(shown).encode("ascii")


def _streaming(channel: grpc.Channel, method: Method) -> Any:
    make: Any = channel.stream_stream if method.streams_in else channel.unary_stream
    return make(method.path, request_serializer=encode, response_deserializer=decoder(method.reply))
