"""A child finds its parent: under several names, through renewals and moves, past proxies."""

from __future__ import annotations

import datetime
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodes.config.addresses import Address
from nodes.flower.errors import LinkDown
from nodes.flower.https import http_client, trust
from nodes.flower.messages import unpack
from nodes.flower.proxies import proxy_for
from nodes.flower.uplink import Uplink, empty_context
from nodes.machine.clock import SystemClock
from nodes.machine.troubles import Troubles, read_troubles
from nodes.trust.tls import make_tls
from tests.nodes.flower.links import WAIT_S, Parent, echo_app, key_pair, parent, wait_for
from tests.ports import free_port


@contextmanager
def running(uplink: Uplink) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=uplink.run, args=(echo_app(), empty_context(), stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(WAIT_S)
        assert not thread.is_alive()


def answers(p: Parent, flower_id: int) -> bool:
    return unpack(p.reply(p.send(flower_id, {"n": b"1"})).content) == ("echo", {"n": b"1"})


def troubled(tmp_path: Path, address: str, ca: bytes, key: bytes) -> tuple[str, str]:
    """The trouble that a child of this address has after a few tries."""
    file = tmp_path / "troubles.json"
    uplink = Uplink([address], ca, key, 0.02, troubles=Troubles(file, SystemClock()))
    with running(uplink):
        wait_for(lambda: bool(read_troubles(file)))
    (trouble,) = read_troubles(file)
    assert trouble.key == "uplink"
    assert address in trouble.sentence
    return trouble.code, trouble.sentence


def test_a_parent_on_another_address_is_reached_when_its_certificate_holds_it(
    tmp_path: Path,
) -> None:
    key, public = key_pair()
    make_tls(tmp_path / "tls", ["127.0.0.2"])
    with parent(tmp_path, host="127.0.0.2") as p:
        flower_id = p.downlink.admit_child(public)
        with running(Uplink([p.downlink.address], p.ca, key, 0.02)):
            assert answers(p, flower_id)


def test_an_ipv6_parent_is_reached(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path, host="::1") as p:
        assert p.downlink.address.startswith("[::1]:")
        flower_id = p.downlink.admit_child(public)
        with running(Uplink([p.downlink.address], p.ca, key, 0.02)):
            assert answers(p, flower_id)


def test_a_parent_that_listens_everywhere_is_reached_both_ways(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path, host="::") as p:
        port = Address.parse(p.downlink.address).port
        p.downlink.admit_child(public)
        for host in ("127.0.0.1", "::1"):
            with p.stranger(key) as client:
                client.connect(str(Address(host, port)))


def test_addresses_are_tried_in_turn_and_the_one_that_worked_is_told(tmp_path: Path) -> None:
    key, public = key_pair()
    worked: list[str] = []
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        dead = f"127.0.0.1:{free_port()}"
        addresses = [dead, "no-such-name.invalid:1", p.downlink.address]
        with running(Uplink(addresses, p.ca, key, 0.02, on_connected=worked.append)):
            assert answers(p, flower_id)
    assert worked == [p.downlink.address]


def test_a_child_follows_a_parent_that_told_where_it_moves(tmp_path: Path) -> None:
    key, public = key_pair()
    make_tls(tmp_path / "tls", ["127.0.0.2"])
    with parent(tmp_path) as first:
        first.downlink.admit_child(public)
        uplink = Uplink([first.downlink.address], first.ca, key, 0.02)
        with running(uplink):
            wait_for(lambda: uplink.connected)
            port = free_port()
            uplink.set_addresses([f"127.0.0.2:{port}", first.downlink.address])
            first.downlink.stop()
            with parent(tmp_path, port, host="127.0.0.2") as second:
                assert answers(second, second.downlink.admit_child(public))


def test_a_certificate_is_renewed_under_a_running_server(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path, host="::") as p:
        p.downlink.admit_child(public)
        port = Address.parse(p.downlink.address).port
        moved = str(Address("127.0.0.2", port))
        with p.stranger(key) as connected, p.stranger(key) as other:
            connected.connect(str(Address("127.0.0.1", port)))
            with pytest.raises(LinkDown, match="wrong-name"):
                other.connect(moved)
            make_tls(tmp_path / "tls", ["127.0.0.2"])
            p.downlink.renew_certificate()
            other.connect(moved)
            assert connected.heartbeat(), "connections that are open stay"


@pytest.mark.slow
def test_a_child_learns_a_new_authority_while_it_runs(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as first:
        first.downlink.admit_child(public)
        port = Address.parse(first.downlink.address).port
        uplink = Uplink([first.downlink.address], first.ca, key, 0.02)
        with running(uplink):
            wait_for(lambda: uplink.connected)
            first.downlink.stop()
            for file in (tmp_path / "tls").iterdir():
                file.unlink()
            make_tls(tmp_path / "tls")  # another authority
            with parent(tmp_path, port) as second:
                flower_id = second.downlink.admit_child(public)
                uplink.set_authority(second.ca)
                assert answers(second, flower_id)


# -- what does not work is said ------------------------------------------------------------------


def test_an_address_that_the_certificate_lacks_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, public = key_pair()
    with parent(tmp_path, host="127.0.0.2") as p:
        p.downlink.admit_child(public)
        code, sentence = troubled(tmp_path, p.downlink.address, p.ca, key)
    assert code == "wrong-name"
    assert "[downlink] names" in sentence
    assert sentence in capsys.readouterr().err


def test_another_authority_is_said(tmp_path: Path) -> None:
    key, _ = key_pair()
    other = make_tls(tmp_path / "other").ca.read_bytes()
    with parent(tmp_path) as p:
        assert troubled(tmp_path, p.downlink.address, other, key)[0] == "unknown-authority"


def test_an_expired_certificate_is_said(tmp_path: Path) -> None:
    key, _ = key_pair()
    long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    make_tls(tmp_path / "tls", now=long_ago)
    with parent(tmp_path) as p:
        assert troubled(tmp_path, p.downlink.address, p.ca, key)[0] == "certificate-expired"


def test_a_certificate_of_the_future_is_said(tmp_path: Path) -> None:
    key, _ = key_pair()
    make_tls(tmp_path / "tls", now=datetime.datetime(2500, 1, 1, tzinfo=datetime.UTC))
    with parent(tmp_path) as p:
        code, sentence = troubled(tmp_path, p.downlink.address, p.ca, key)
    assert (code, "clock" in sentence) == ("certificate-not-yet-valid", True)


def test_a_node_that_was_revoked_is_told_to_ask(tmp_path: Path) -> None:
    key, public = key_pair()
    with parent(tmp_path) as p:
        p.downlink.remove_child(p.downlink.admit_child(public))
        code, sentence = troubled(tmp_path, p.downlink.address, p.ca, key)
    assert (code, "operator" in sentence) == ("unknown-transport-key", True)


def test_a_parent_that_does_not_run_is_said(tmp_path: Path) -> None:
    key, _ = key_pair()
    ca = make_tls(tmp_path / "tls").ca.read_bytes()
    address = f"127.0.0.1:{free_port()}"
    assert troubled(tmp_path, address, ca, key)[0] == "connection-refused"


def test_a_name_that_does_not_resolve_is_said(tmp_path: Path) -> None:
    key, _ = key_pair()
    ca = make_tls(tmp_path / "tls").ca.read_bytes()
    assert troubled(tmp_path, "no-such-name.invalid:1", ca, key)[0] == "unknown-name"


def test_a_server_without_tls_is_said(tmp_path: Path) -> None:
    key, _ = key_pair()
    ca = make_tls(tmp_path / "tls").ca.read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"SSH-2.0-other\r\n")

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        host, port = server.getsockname()
        code, _ = troubled(tmp_path, f"{host}:{port}", ca, key)
        server.shutdown(socket.SHUT_RDWR)
    thread.join(WAIT_S)
    assert code == "no-tls"


@pytest.mark.slow
def test_a_trouble_is_over_when_the_link_is_up(tmp_path: Path) -> None:
    key, public = key_pair()
    port, file = free_port(), tmp_path / "troubles.json"
    ca = make_tls(tmp_path / "tls").ca.read_bytes()
    uplink = Uplink([f"127.0.0.1:{port}"], ca, key, 0.02, troubles=Troubles(file, SystemClock()))
    with running(uplink):
        wait_for(lambda: bool(read_troubles(file)))
        with parent(tmp_path, port) as p:
            p.downlink.admit_child(public)
            wait_for(lambda: uplink.connected)
            wait_for(lambda: not read_troubles(file))


# -- proxies -------------------------------------------------------------------------------------


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies, to put some in."""
    for name in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


def test_a_parent_on_loopback_needs_no_proxy(tmp_path: Path, proxies: pytest.MonkeyPatch) -> None:
    proxies.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    key, public = key_pair()
    with parent(tmp_path) as p:
        flower_id = p.downlink.admit_child(public)
        with running(Uplink([p.downlink.address], p.ca, key, 0.02)):
            assert answers(p, flower_id)


@pytest.mark.parametrize(
    ("address", "without"),
    [
        ("127.0.0.1:1", ""),
        ("127.8.8.8:1", ""),
        ("[::1]:1", ""),
        ("localhost:1", ""),
        ("gateway.example:1", "gateway.example"),
        ("gateway.example:1", "other, .example"),
        ("10.0.0.7:1", "10.0.0.7"),
        ("10.0.0.7:1", "10.0.0.0/8"),
        ("[fd00::7]:1", "fd00::/8"),
        ("gateway.example:1", "*"),
    ],
)
def test_what_no_proxy_names_is_reached_directly(
    proxies: pytest.MonkeyPatch, address: str, without: str
) -> None:
    proxies.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    proxies.setenv("NO_PROXY", without)
    assert proxy_for(Address.parse(address)) is None


@pytest.mark.parametrize("address", ["gateway.example:1", "10.0.0.7:1", "[fd00::7]:1"])
def test_everything_else_goes_through_the_proxy(proxies: pytest.MonkeyPatch, address: str) -> None:
    proxies.setenv("NO_PROXY", "192.168.0.0/16,other.example")
    proxies.setenv("ALL_PROXY", "proxy.example:3128")
    assert proxy_for(Address.parse(address)) == "http://proxy.example:3128"


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "what://127.0.0.1:1", "http://a:b:c"])
def test_a_proxy_that_cannot_be_used_is_said_and_ends_nothing(
    tmp_path: Path, proxies: pytest.MonkeyPatch, proxy: str
) -> None:
    proxies.setattr("importlib.util.find_spec", lambda _: None)
    proxies.setenv("ALL_PROXY", proxy)
    ca = make_tls(tmp_path / "tls").ca.read_bytes()
    with pytest.raises(LinkDown, match=r"^bad-proxy: .*NO_PROXY"):
        http_client("10.0.0.7:1", trust(ca))
    assert troubled(tmp_path, "10.0.0.7:1", ca, key_pair()[0])[0] == "bad-proxy"
