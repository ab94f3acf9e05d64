"""Listeners and channels: who gets in, what a refusal says, and what one caller may ask."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from nodes.errors import NodeError
from nodes.peers.wire.caller import Caller
from nodes.peers.wire.client import Credentials, PeerChannel, pinned_leaf
from nodes.peers.wire.errors import PeerError
from nodes.peers.wire.limits import WireLimits
from nodes.peers.wire.server import Listener, PeerServer, ServerTls
from protocol import Code, Digest, NodeId, Refused, Role, peer_pb2
from tests.nodes.peers.wire.pki import Authority

NAME = "parent.peer"
CHILD = NodeId("c" * 64)


def now_ms() -> int:
    return round(time.time() * 1000)


def everybody(_: Digest, address: str) -> Caller:
    return Caller(CHILD, Role.DEVICE, "clinic", address)


@contextmanager
def serving(
    handlers: Mapping[str, Callable[..., Any]],
    tls: Callable[[], ServerTls],
    *,
    service: str = "Peer",
    identify: Any = everybody,
    limits: WireLimits | None = None,
    clock: Callable[[], int] = now_ms,
    refused: list[str] | None = None,
) -> Iterator[str]:
    noted = refused if refused is not None else []
    server = PeerServer(
        [Listener(service, handlers, "127.0.0.1", 0, tls, identify)],
        now_ms=clock,
        limits=limits,
        on_refused=lambda code, _: noted.append(code),
    )
    server.start()
    try:
        yield f"127.0.0.1:{server.ports[0]}"
    finally:
        server.stop()


@contextmanager
def asking(address: str, credentials: Credentials, name: str = NAME) -> Iterator[PeerChannel]:
    channel = PeerChannel(lambda: [address], lambda: credentials, name)
    try:
        yield channel
    finally:
        channel.close()


def locate(caller: Caller, request: peer_pb2.LocateRequest) -> peer_pb2.LocateReply:
    return peer_pb2.LocateReply(
        located=[peer_pb2.Located(digest=d, here=caller.member == CHILD) for d in request.digests]
    )


def fetch(_: Caller, request: peer_pb2.FetchRequest) -> Iterator[peer_pb2.Chunk]:
    for part in range(request.length):
        yield peer_pb2.Chunk(data=bytes([part]), total=request.length)


QUESTION = peer_pb2.LocateRequest(digests=[b"d" * 32])


def test_a_member_asks_and_gets_an_answer() -> None:
    circle = Authority()
    tls = circle.server(NAME)
    with (
        serving({"Locate": locate, "Fetch": fetch}, lambda: tls) as address,
        asking(address, circle.member("clinic.peer")) as channel,
    ):
        reply = channel.ask("Locate", QUESTION)
        assert [(item.digest, item.here) for item in reply.located] == [(b"d" * 32, True)]
        chunks = list(channel.stream("Fetch", peer_pb2.FetchRequest(length=5)))
        assert b"".join(chunk.data for chunk in chunks) == bytes(range(5))


def test_who_has_no_certificate_of_the_circle_does_not_get_in() -> None:
    circle, other = Authority(), Authority()
    tls = circle.server(NAME)
    strangers = {
        "nothing": Credentials(circle.pem),
        "another circle's": Credentials(circle.pem, *_pair(other.member("clinic.peer"))),
        "an ended one": Credentials(circle.pem, *_pair(circle.member("clinic.peer", days=-1))),
    }
    asked: list[str] = []

    def noted(caller: Caller, request: peer_pb2.LocateRequest) -> peer_pb2.LocateReply:
        asked.append(caller.address)
        return locate(caller, request)

    with serving({"Locate": noted}, lambda: tls) as address:
        for what, credentials in strangers.items():
            with asking(address, credentials) as channel, pytest.raises(PeerError) as caught:
                channel.ask("Locate", QUESTION, timeout_s=5)
            assert caught.value.code == "handshake-refused", what
    assert not asked


def _pair(credentials: Credentials) -> tuple[bytes | None, bytes | None]:
    return credentials.certificate, credentials.key


def test_another_node_than_the_expected_one_is_not_asked() -> None:
    circle = Authority()
    tls = circle.server("sibling.peer")
    with (
        serving({"Locate": locate}, lambda: tls) as address,
        asking(address, circle.member("clinic.peer")) as channel,
        pytest.raises(PeerError) as caught,
    ):
        channel.ask("Locate", QUESTION, timeout_s=5)
    assert caught.value.code == "unknown-authority"


def test_the_certificate_shown_can_be_pinned() -> None:
    circle = Authority()
    tls = circle.server(NAME, mutual=False)
    handlers = {"Authority": lambda _c, r: peer_pb2.AuthorityReply(authority=r.nonce)}
    with serving(handlers, lambda: tls, service="Enrolment", identify=None) as address:
        leaf = pinned_leaf(address)
        with asking(address, Credentials(leaf)) as channel:
            assert channel.ask("Authority", peer_pb2.AuthorityRequest(nonce=b"n")).authority == b"n"


def test_a_renewed_certificate_is_served_without_a_restart() -> None:
    circle = Authority()
    shown = [circle.server("old.peer")]
    with serving({"Locate": locate}, lambda: shown[0]) as address:
        shown[0] = circle.server(NAME)
        with asking(address, circle.member("clinic.peer")) as channel:
            assert channel.ask("Locate", QUESTION).located


def test_a_connection_ends_with_its_certificate() -> None:
    circle, times = Authority(), [now_ms()]
    tls = circle.server(NAME)
    with (
        serving({"Locate": locate}, lambda: tls, clock=lambda: times[0]) as address,
        asking(address, circle.member("clinic.peer", days=1)) as channel,
    ):
        channel.ask("Locate", QUESTION)
        times[0] += 2 * 24 * 3600 * 1000
        with pytest.raises(PeerError) as caught:
            channel.ask("Locate", QUESTION)
    assert caught.value.code == "certificate-expired"


def test_who_is_shut_out_during_an_answer_gets_no_more_of_it() -> None:
    circle, out = Authority(), threading.Event()
    tls = circle.server(NAME)

    def by_key(transport: Digest, address: str) -> Caller:
        if out.is_set():
            raise NodeError("revoked", "No member any more.")
        return everybody(transport, address)

    def given(_: Caller, __: peer_pb2.FetchRequest) -> Iterator[peer_pb2.Chunk]:
        yield peer_pb2.Chunk(data=b"1")
        out.wait(20)
        yield peer_pb2.Chunk(data=b"2")

    with (
        serving({"Fetch": given}, lambda: tls, identify=by_key) as address,
        asking(address, circle.member("clinic.peer")) as channel,
    ):
        replies = channel.stream("Fetch", peer_pb2.FetchRequest())
        assert next(replies).data == b"1"
        out.set()
        with pytest.raises(PeerError, match=r"^revoked: "):
            next(replies)


def test_a_call_that_is_not_offered_is_refused_by_a_code() -> None:
    circle, refused = Authority(), list[str]()
    tls = circle.server(NAME)
    with (
        serving({"Locate": locate}, lambda: tls, refused=refused) as address,
        asking(address, circle.member("clinic.peer")) as channel,
        pytest.raises(PeerError) as caught,
    ):
        channel.ask("Status", peer_pb2.StatusRequest())
    assert (caught.value.code, refused) == ("not-offered", ["not-offered"])


@pytest.mark.parametrize(
    ("raised", "code", "retry"),
    [
        (PeerError("overloaded", "Come back.", 1234), "overloaded", 1234),
        (NodeError("no-room", "The disk is full."), "no-room", None),
        (Refused(Code.REVOKED, "No member any more."), "revoked", None),
        (ZeroDivisionError("secret"), "failed", 5000),
    ],
)
def test_what_a_handler_raises_arrives_with_its_code(
    raised: Exception, code: str, retry: int | None
) -> None:
    circle, refused = Authority(), list[str]()
    tls = circle.server(NAME)

    def refuse(_: Caller, __: peer_pb2.LocateRequest) -> peer_pb2.LocateReply:
        raise raised

    def refuse_later(_: Caller, __: peer_pb2.FetchRequest) -> Iterator[peer_pb2.Chunk]:
        yield peer_pb2.Chunk(data=b"1")
        raise raised

    with (
        serving({"Locate": refuse, "Fetch": refuse_later}, lambda: tls, refused=refused) as address,
        asking(address, circle.member("clinic.peer")) as channel,
    ):
        with pytest.raises(PeerError) as caught:
            channel.ask("Locate", QUESTION)
        assert (caught.value.code, caught.value.retry_ms) == (code, retry)
        assert "secret" not in caught.value.sentence
        replies = channel.stream("Fetch", peer_pb2.FetchRequest())
        assert next(replies).data == b"1"
        with pytest.raises(PeerError) as caught:
            next(replies)
        assert caught.value.code == code
    assert refused == [code, code]


def test_one_member_may_ask_so_much_and_others_are_served() -> None:
    circle = Authority()
    tls = circle.server(NAME)
    nodes: dict[Digest, NodeId] = {}

    def by_key(transport: Digest, address: str) -> Caller:
        node = nodes.setdefault(transport, NodeId(f"{len(nodes):064x}"))
        return Caller(node, Role.DEVICE, "", address)

    def any_locate(_: Caller, __: peer_pb2.LocateRequest) -> peer_pb2.LocateReply:
        return peer_pb2.LocateReply()

    limits = WireLimits(calls_per_s=0.001, burst=20)
    with serving({"Locate": any_locate}, lambda: tls, identify=by_key, limits=limits) as address:
        with asking(address, circle.member("noisy.peer")) as noisy:
            codes = set()
            for _ in range(25):
                try:
                    noisy.ask("Locate", QUESTION)
                except PeerError as error:
                    codes.add(error.code)
                    assert error.retry_ms
            assert codes == {"too-many-calls"}
        with asking(address, circle.member("quiet.peer")) as quiet:
            quiet.ask("Locate", QUESTION)


def test_long_calls_hold_no_thread() -> None:
    circle = Authority()
    tls = circle.server(NAME)
    woken = threading.Event()

    async def watch(_: Caller, request: peer_pb2.WatchRequest) -> peer_pb2.WatchReply:
        while not woken.is_set():
            await asyncio.sleep(0.01)
        return peer_pb2.WatchReply(snapshot=b"new")

    async def attend(
        _: Caller, said: AsyncIterator[peer_pb2.ChildSays]
    ) -> AsyncIterator[peer_pb2.ParentSays]:
        async for message in said:
            yield peer_pb2.ParentSays(circle=int(message.ready))

    limits = WireLimits(threads=1, long_at_once=3)
    handlers: Mapping[str, Callable[..., Any]] = {
        "WatchSnapshot": watch,
        "Attend": attend,
        "Locate": locate,
    }
    with ExitStack() as stack:
        address = stack.enter_context(serving(handlers, lambda: tls, limits=limits))
        channel = stack.enter_context(asking(address, circle.member("clinic.peer")))
        says = channel.stream("Attend", iter([peer_pb2.ChildSays(ready=True)]))
        assert next(says).circle == 1
        answers: list[bytes] = []
        waiting = [
            threading.Thread(
                target=lambda: answers.append(
                    channel.ask("WatchSnapshot", peer_pb2.WatchRequest(scope="/en")).snapshot
                )
            )
            for _ in range(2)
        ]
        for thread in waiting:
            thread.start()
        assert channel.ask("Locate", QUESTION).located
        woken.set()
        for thread in waiting:
            thread.join()
        assert answers == [b"new", b"new"]


def test_a_message_beyond_the_limit_is_refused() -> None:
    circle = Authority()
    tls = circle.server(NAME)
    with (
        serving({"Locate": locate}, lambda: tls, limits=WireLimits(message_bytes=4096)) as address,
        asking(address, circle.member("clinic.peer")) as channel,
        pytest.raises(PeerError) as caught,
    ):
        channel.ask("Locate", peer_pb2.LocateRequest(digests=[b"d" * 32] * 1000))
    assert caught.value.code == "too-large"


def test_nobody_there_is_link_down_and_the_next_address_is_tried() -> None:
    circle = Authority()
    tls = circle.server(NAME)
    credentials = circle.member("clinic.peer")
    with serving({"Locate": locate}, lambda: tls) as address:
        answered: list[str] = []
        channel = PeerChannel(
            lambda: ["127.0.0.1:1", address], lambda: credentials, NAME, answered.append
        )
        assert channel.ask("Locate", QUESTION).located
        assert answered == [address]
        channel.close()
    with asking("127.0.0.1:1", credentials) as channel, pytest.raises(PeerError) as caught:
        channel.ask("Locate", QUESTION, timeout_s=3)
    assert caught.value.code == "link-down"


def test_a_taken_port_is_said() -> None:
    circle = Authority()
    tls = circle.server(NAME)
    with serving({"Locate": locate}, lambda: tls) as address:
        port = int(address.rpartition(":")[2])
        listener = Listener("Peer", {"Locate": locate}, "127.0.0.1", port, lambda: tls, everybody)
        second = PeerServer([listener], now_ms=now_ms)
        with pytest.raises(NodeError) as caught:
            second.start()
        second.stop()
    assert caught.value.code == "cannot-listen"
