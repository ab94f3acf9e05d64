"""How an attacker asks: over real gRPC, with bytes of its own choice."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from nodes.peers.wire.client import Credentials
from nodes.peers.wire.errors import CODE_KEY, read_error
from nodes.peers.wire.methods import METHODS
from nodes.state.home import Home
from nodes.trust.link_certificates import issue_link, peer_name
from nodes.trust.tls import authority_pem
from protocol import NodeId

ANSWERED = ""
"""In place of a code: the call was answered."""


@dataclass(frozen=True)
class Target:
    """A listener: where it is, whose it is, and what that one's certificate chains to."""

    address: str
    node: NodeId
    authority: bytes


@dataclass(frozen=True)
class Actor:
    """A node with its keys, and what it shows at a handshake."""

    home: Home
    shown: Credentials

    @property
    def id(self) -> NodeId:
        return self.home.id


def actor(parent: Home, home: Home, made: datetime.datetime | None = None) -> Actor:
    """Give a child its link certificate, as its parent makes it at a moment, by default now."""
    made = made or datetime.datetime.now(datetime.UTC)
    link = issue_link(parent.folder / "tls", parent.key, home.certificate, made)
    authority = authority_pem(parent.folder / "tls", parent.key)
    return Actor(home, Credentials(authority, link, home.transport_pem))


@contextmanager
def channel_to(target: Target, shown: Credentials) -> Iterator[grpc.Channel]:
    """Open a connection of its own."""
    secure = grpc.ssl_channel_credentials(target.authority, shown.key, shown.certificate)
    options = [
        ("grpc.ssl_target_name_override", peer_name(target.node)),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.enable_retries", 0),
        ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ]
    channel = grpc.secure_channel(target.address, secure, options)
    try:
        yield channel
    finally:
        channel.close()


@dataclass(frozen=True)
class Outcome:
    """How a call ended.

    Attributes:
        code: empty where it was answered.
        told: whether the service itself said the code, not gRPC or TLS before it.
        replies: what was answered, undecoded.
    """

    code: str
    sentence: str = ""
    told: bool = False
    retry_ms: int | None = None
    replies: tuple[bytes, ...] = ()


def call(
    channel: grpc.Channel,
    path: str,
    requests: Iterable[bytes],
    *,
    streams_in: bool = False,
    first: int | None = None,
    metadata: tuple[tuple[str, str], ...] = (),
    timeout_s: float = 10,
) -> Outcome:
    """Make any call; ``first`` ends a stream after so many replies.

    A stream of requests stays open until the call has ended.
    """
    replies: list[bytes] = []
    untyped: Any = channel
    ended = threading.Event()

    def sent() -> Iterator[bytes]:
        yield from requests
        ended.wait(timeout_s)

    try:
        if streams_in:
            given: Any = untyped.stream_stream(path)(sent(), timeout=timeout_s, metadata=metadata)
        else:
            (request,) = requests
            given = untyped.unary_stream(path)(request, timeout=timeout_s, metadata=metadata)
        for reply in given:
            replies.append(reply)
            if first is not None and len(replies) >= first:
                given.cancel()
                break
    except grpc.RpcError as error:
        refused = read_error(error)
        trailing: Any = error.trailing_metadata() or ()
        told = CODE_KEY in dict(trailing)
        return Outcome(refused.code, refused.sentence, told, refused.retry_ms, tuple(replies))
    finally:
        ended.set()
    return Outcome(ANSWERED, replies=tuple(replies))


def ask_on(
    channel: grpc.Channel, name: str, request: Message | bytes | None = None, **more: Any
) -> Outcome:
    """Make a call by its name, with an empty request unless one is given."""
    method = METHODS[name]
    if request is None:
        request = method.request()
    data = request if isinstance(request, bytes) else request.SerializeToString()
    if method.streams_in:
        more.setdefault("first", 1)
    return call(channel, method.path, [data], streams_in=method.streams_in, **more)


def ask(
    target: Target,
    shown: Credentials,
    name: str,
    request: Message | bytes | None = None,
    **more: Any,
) -> Outcome:
    """Make a call on a connection of its own."""
    with channel_to(target, shown) as channel:
        return ask_on(channel, name, request, **more)


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something is the case."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
