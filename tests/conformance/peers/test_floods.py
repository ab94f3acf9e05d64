"""Attack: ask for ever, ten thousand times a second, or not at all; another member is served.

The daemon is a process of its own: its memory is measured from outside.
"""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from nodes.peers.artefacts.manifest import sha256_of
from nodes.peers.wire.errors import read_error
from nodes.peers.wire.limits import WireLimits
from nodes.peers.wire.methods import METHODS
from protocol import SigningKey, peer_pb2, seal
from tests.conformance.peers import http2
from tests.conformance.peers.asking import ANSWERED, ask, ask_on, channel_to, until
from tests.conformance.peers.daemon import (
    MIB,
    OPEN_FILES,
    QUESTION,
    Daemon,
    Served,
    a_daemon,
    being_served,
)
from tests.conformance.peers.test_statements import signer

pytestmark = pytest.mark.slow

LIMITS = WireLimits()
BIG = "tokenizer_config.json"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Iterator[Daemon]:
    """A root whose base has one large file."""
    folder = tmp_path_factory.mktemp("daemon")
    shutil.copytree(base, folder / "base")
    with (folder / "base" / BIG).open("ab") as file:
        file.write(b" " * 8 * MIB)
    with a_daemon(folder, folder / "base") as made:
        yield made


def flood(daemon: Daemon, seconds: float, connections: int, *, is_reset: bool = False) -> int:
    """Let member ``bad`` ask as fast as it can on some connections; return how many answers
    came."""
    context = http2.context_of(daemon.members["bad"].shown, daemon.folder.parent)
    message, path = QUESTION.SerializeToString(), METHODS["Locate"].path

    def run(_: int) -> int:
        until_moment = time.monotonic() + seconds
        try:
            with http2.connected(daemon.children.address, context) as secured:
                return http2.blast(
                    secured, path, message, until_moment, ahead=24, is_reset=is_reset
                ).answered
        except OSError:  # hung up
            return 0

    with ThreadPoolExecutor(connections) as pool:
        return sum(pool.map(run, range(connections)))


def all_well(served: Served) -> None:
    assert set(served.codes) == {ANSWERED}, served
    assert served.codes[ANSWERED] >= 2


def test_ten_thousand_calls_a_second_of_one_member(daemon: Daemon) -> None:
    flood(daemon, 1, 4)
    daemon.settle()
    before, codes = daemon.rss, Counter[str]()
    with being_served(daemon) as served, ThreadPoolExecutor(1) as pool:
        attack = pool.submit(flood, daemon, 3, 4)
        with channel_to(daemon.children, daemon.members["bad"].shown) as channel:
            while not attack.done():
                got = ask_on(channel, "Locate", QUESTION)
                codes[got.code] += 1
                assert got.code == ANSWERED or (got.told and got.retry_ms), got
    answers = attack.result()
    daemon.settle()
    grown = daemon.rss - before
    all_well(served)
    # Many more than it may ask, however slow this machine is; and it is told so.
    assert answers > 3 * 5 * LIMITS.calls_per_s
    assert codes["too-many-calls"] > codes[ANSWERED]
    assert grown < 8 * MIB
    until(lambda: daemon.refused()["too-many-calls"] > answers / 2)


def test_many_connections_of_one_member(daemon: Daemon) -> None:
    """More than it may have are closed, and what they had under way is over."""
    before = daemon.connections
    with being_served(daemon) as served:
        flood(daemon, 3, 60)
    all_well(served)
    until(lambda: daemon.connections <= before + LIMITS.connections_of_one)


def test_calls_that_are_reset_as_soon_as_they_are_made(daemon: Daemon) -> None:
    with being_served(daemon) as served:
        flood(daemon, 2, 4, is_reset=True)
    all_well(served)


def test_a_thousand_silent_connections(daemon: Daemon) -> None:
    """More than the process may have files: some are closed at once, the others after a while."""
    daemon.settle()
    before, open_before = daemon.rss, daemon.connections
    with being_served(daemon) as served, ExitStack() as stack:
        until(lambda: served.codes[ANSWERED])
        for target in (daemon.children, daemon.door):
            host, _, port = target.address.rpartition(":")
            for number in range(OPEN_FILES // 2):
                silent = stack.enter_context(socket.create_connection((host, int(port)), 10))
                if number % 2:  # begins a handshake, and says no more
                    with suppress(OSError):
                        silent.sendall(b"\x16\x03\x01\x02\x00\x01")
        until(lambda: daemon.connections >= OPEN_FILES // 4)
        time.sleep(1)
        assert daemon.process.num_fds() < OPEN_FILES - 256
        until(lambda: daemon.connections <= open_before + 2, LIMITS.handshake_s + 20)
        got = ask(daemon.door, daemon.members["bad"].shown, "Authority")
        assert got.code == "malformed"
    all_well(served)
    daemon.settle()
    assert daemon.rss - before < 48 * MIB


@pytest.mark.parametrize("name", ["Attend", "WatchSnapshot"])
def test_a_long_call_that_is_opened_a_thousand_times(daemon: Daemon, name: str) -> None:
    daemon.settle()
    before, method = daemon.rss, METHODS[name]
    over, codes = threading.Event(), Counter[str]()

    def one(channel: Any) -> str:
        def sent() -> Iterator[bytes]:
            yield b""
            over.wait(30)

        try:
            if method.streams_in:
                list(channel.stream_stream(method.path)(sent(), timeout=20))
            else:
                request = peer_pb2.WatchRequest(scope="/", have=2**50)
                channel.unary_unary(method.path)(request.SerializeToString(), timeout=20)
        except grpc.RpcError as error:
            return read_error(error).code
        return ANSWERED

    with (
        channel_to(daemon.children, daemon.members["bad"].shown) as channel,
        being_served(daemon) as served,
        ThreadPoolExecutor(40) as pool,
    ):
        calls = [pool.submit(one, channel) for _ in range(1000)]
        until(lambda: sum(call.done() for call in calls) >= 1000 - LIMITS.long_at_once)
        codes.update(call.result() for call in calls if call.done())
        over.set()
        channel.close()
    all_well(served)
    assert codes == {"too-many-calls": 1000 - LIMITS.long_at_once}
    daemon.settle()
    assert daemon.rss - before < 16 * MIB


def test_an_attend_that_never_stops_sending(daemon: Daemon) -> None:
    daemon.settle()
    before, method, sent = daemon.rss, METHODS["Attend"], Counter[str]()

    def endless() -> Iterator[bytes]:
        while True:
            sent["messages"] += 1
            yield peer_pb2.ChildSays(ready=True).SerializeToString()

    with (
        channel_to(daemon.children, daemon.members["bad"].shown) as channel,
        being_served(daemon) as served,
    ):
        with pytest.raises(grpc.RpcError) as ended:
            untyped: Any = channel
            list(untyped.stream_stream(method.path)(endless(), timeout=60))
        time.sleep(0.5)
    assert read_error(ended.value).code == "too-many-calls"
    all_well(served)
    daemon.settle()
    assert daemon.rss - before < 16 * MIB


@pytest.mark.parametrize("patience_s", [0.02, 20])
def test_the_most_expensive_reports(daemon: Daemon, patience_s: float) -> None:
    """Two thousand forged signatures in each, and some of them cancelled as soon as they run."""
    bad, now = daemon.members["bad"], round(time.time() * 1000)
    forged = signer(bad).status(now)
    statement = seal(forged, SigningKey.generate()).encode()
    statuses = [peer_pb2.Signed(statement=statement)] * 2000
    request = peer_pb2.ReportRequest(statuses=statuses).SerializeToString()
    assert len(request) < LIMITS.message_bytes
    end = time.monotonic() + 1.5

    def run(channel: grpc.Channel) -> Counter[str]:
        codes = Counter[str]()
        while time.monotonic() < end:
            codes[ask_on(channel, "Report", request, timeout_s=patience_s).code] += 1
        return codes

    with (
        channel_to(daemon.children, bad.shown) as channel,
        being_served(daemon) as served,
        ThreadPoolExecutor(LIMITS.at_once) as pool,
    ):
        codes = sum(pool.map(run, [channel] * LIMITS.at_once), Counter[str]())
    all_well(served)
    assert set(codes) <= {ANSWERED, "too-many-calls", "too-slow"}
    assert codes["too-many-calls"] > codes[ANSWERED]


def test_fetches_that_nobody_reads(daemon: Daemon) -> None:
    big = daemon.folder.parent / "base" / BIG
    digest, length = sha256_of(big), big.stat().st_size
    wanted = peer_pb2.FetchRequest(digest=bytes.fromhex(digest), length=length)
    context = http2.context_of(daemon.members["reader"].shown, daemon.folder.parent)
    block, message = http2.headers(METHODS["Fetch"].path), wanted.SerializeToString()
    daemon.settle()
    before = daemon.rss
    with ExitStack() as stack:
        for _ in range(LIMITS.connections_of_one):
            secured = stack.enter_context(http2.connected(daemon.children.address, context))
            for number in range(20):
                secured.sendall(http2.call(1 + 2 * number, block, message))
        with being_served(daemon) as served:
            got = ask(daemon.children, daemon.members["good"].shown, "Fetch", wanted, timeout_s=60)
            time.sleep(1)
        data = b"".join(peer_pb2.Chunk.FromString(reply).data for reply in got.replies)
        assert data == big.read_bytes()
        # Under way is a chunk and its copies for each fetch that one member may run.
        assert daemon.rss - before < 24 * MIB
    all_well(served)
    until(lambda: daemon.refused()["overloaded"] > 0)


def test_nothing_of_all_that_is_an_error_of_this_node(daemon: Daemon) -> None:
    daemon.settle()
    assert daemon.process.is_running()
    assert "Traceback" not in daemon.printed
    assert "peer-call-failed" not in daemon.printed
