"""Claims about addresses: what can be used is written one way, anything else gets a sentence."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from nodes.config.addresses import (
    KEPT_PORTS,
    Address,
    free_port,
    own_addresses,
    parse_host,
    parse_reachable,
)
from nodes.errors import NodeError


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("10.0.0.7:9941", "10.0.0.7:9941"),
        ("[::1]:9941", "[::1]:9941"),
        ("[2001:DB8:0:0::1]:1", "[2001:db8::1]:1"),
        ("Gateway.Example.:65535", "gateway.example:65535"),
        (" host_1:80 ", "host_1:80"),
        ("bücher.example:9941", "xn--bcher-kva.example:9941"),
    ],
)
def test_an_address_has_one_form(text: str, usual: str) -> None:
    address = Address.parse(text)
    assert str(address) == usual
    assert Address.parse(usual) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":9941",
        "gateway",
        "gateway:",
        "gateway:0",
        "gateway:65536",
        "gateway:99999999",
        "gateway:+80",
        "gateway:٣",
        "gateway:80:81",
        "http://gateway:9941",
        "https://gateway:9941",
        "gateway:9941/path",
        "::1:9941",
        "::1",
        "[::1]",
        "[::1",
        "[::1]9941",
        "[gateway]:9941",
        "[10.0.0.7]:9941",
        "[fe80::1%eth0]:9941",
        "300.1.1.1:80",
        "1.2.3:80",
        "-a.example:80",
        "a..b:80",
        "a b:80",
        "user@host:80",
        "x" * 64 + ":80",
        "\x00:80",
    ],
)
def test_what_is_no_address_gets_a_sentence(text: str) -> None:
    with pytest.raises(NodeError, match=r"^bad-address: The address .* cannot be used: .*\.$"):
        Address.parse(text)


@pytest.mark.parametrize("text", ["0.0.0.0:9941", "[::]:9941"])
def test_nobody_connects_to_a_wildcard(text: str) -> None:
    assert Address.parse(text).is_wildcard
    with pytest.raises(NodeError, match="nobody can connect"):
        parse_reachable(text)


def test_a_port_may_come_from_elsewhere() -> None:
    assert str(Address.parse("gateway", 9941)) == "gateway:9941"
    assert str(Address.parse("[::1]", 9941)) == "[::1]:9941"
    assert str(Address.parse("gateway:1", 9941)) == "gateway:1"


def test_a_host_is_written_without_brackets() -> None:
    assert [parse_host(host) for host in ("::", "0.0.0.0", "GATEWAY")] == [
        "::",
        "0.0.0.0",
        "gateway",
    ]
    with pytest.raises(NodeError, match="bad-address"):
        parse_host("[::1]")


def test_own_addresses_are_those_that_another_machine_may_reach() -> None:
    for text in own_addresses():
        ip = ipaddress.ip_address(text)
        assert not (ip.is_loopback or ip.is_link_local or ip.is_unspecified)
    assert all(ipaddress.ip_address(text).version == 4 for text in own_addresses(ipv6=False))


def test_a_free_port_is_one_that_the_system_does_not_give_away() -> None:
    port = free_port("127.0.0.1")
    assert port in KEPT_PORTS
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_a_host_of_another_machine_has_no_free_port() -> None:
    with pytest.raises(NodeError, match="cannot-listen"):
        free_port("192.0.2.1")
