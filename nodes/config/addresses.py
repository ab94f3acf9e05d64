"""Addresses of nodes: parsed in one place, and those of this machine, found without a network."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from nodes.errors import NodeError

KEPT_PORTS = range(20_000, 32_768)
"""Where a port that is kept is chosen: below those that systems give to outgoing connections."""

_TRIES = 100
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# Interfaces of containers and virtual machines: nobody outside this machine reaches them.
_INWARD = ("docker", "br-", "virbr", "cni", "podman", "lxc", "lxd", "vmnet")


@dataclass(frozen=True)
class Address:
    """A host and a port at which a node can be reached.

    Attributes:
        host: a DNS name in lower case, or an IP address without brackets.
        port: 1 to 65535.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, port: int | None = None) -> Address:
        """Read ``host:port``, or ``[IPv6]:port``.

        Args:
            port: that of an address which names none; without it, one must be named.

        Raises ``NodeError`` ``bad-address`` with a sentence that says how to write it.
        """
        text = text.strip()
        if "://" in text or "/" in text:
            raise _bad(
                text, "write it without https:// and without a path, as gateway.example:9941"
            )
        host, after = text, ""
        if text.startswith("["):
            host, bracket, after = text[1:].partition("]")
            if not bracket or (after and not after.startswith(":")):
                raise _bad(text, "write an IPv6 address as [::1]:9941")
            if not _is_ip(host, 6):
                raise _bad(text, f"{host} is not an IPv6 address")
        elif text.count(":") > 1:
            raise _bad(text, "write an IPv6 address in brackets, as [::1]:9941")
        else:
            host, colon, number = text.partition(":")
            after = colon + number
        return cls(parse_host(host), _port(text, after, port))

    @property
    def is_wildcard(self) -> bool:
        """Whether this stands for every address of a machine: one can listen there, not connect."""
        return is_wildcard(self.host)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine itself gets here."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host(text: str) -> str:
    """Read a DNS name or an IP address without brackets; return its usual form.

    Raises ``NodeError`` ``bad-address``.
    """
    text = text.strip()
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return _name(text)
    if isinstance(ip, ipaddress.IPv6Address) and ip.scope_id is not None:
        raise _bad(text, "an address with a zone (%) means something else on every machine")
    return str(ip)


def parse_reachable(text: str, port: int | None = None) -> Address:
    """Read an address to which a child can connect. Raises ``NodeError`` ``bad-address``."""
    address = Address.parse(text, port)
    if address.is_wildcard:
        raise _bad(text, "one can listen on it, but nobody can connect to it; name the machine")
    return address


def is_wildcard(host: str) -> bool:
    """Return whether a host stands for every address of a machine: ``0.0.0.0`` or ``::``."""
    return _is_ip(host) and ipaddress.ip_address(host).is_unspecified


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine's own loopback, whatever the network is."""
    if _is_ip(host):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def own_addresses(*, ipv6: bool = True) -> tuple[str, ...]:
    """Return this machine's IP addresses that others may reach, the likelier ones first.

    Loopback and link-local addresses are left out. It asks the system, never the network.
    """
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    found: list[tuple[bool, bool, str]] = []
    for name, entries in psutil.net_if_addrs().items():
        for entry in entries:
            if entry.family not in (socket.AF_INET, socket.AF_INET6) or name not in up:
                continue
            if "%" in entry.address or not _is_ip(entry.address):
                continue
            ip = ipaddress.ip_address(entry.address)
            if ip.is_loopback or ip.is_link_local or ip.is_unspecified or ip.is_multicast:
                continue
            if ip.version == 4 or ipv6:
                found.append((name.startswith(_INWARD), ip.version == 6, str(ip)))
    return tuple(dict.fromkeys(address for _, _, address in sorted(found, key=lambda f: f[:2])))


def own_name() -> str | None:
    """Return this machine's name if a certificate can hold it. It may not resolve elsewhere."""
    try:
        name = parse_host(socket.gethostname())
    except NodeError:
        return None
    return None if _is_ip(name) or is_loopback(name) else name


def free_port(host: str) -> int:
    """Choose a port on which nothing listens at ``host`` now.

    Raises ``NodeError`` ``cannot-listen``.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    why: OSError | None = None
    for _ in range(_TRIES):
        port = secrets.choice(KEPT_PORTS)
        try:
            with socket.socket(family, socket.SOCK_STREAM) as trial:
                trial.bind((host, port))
            return port
        except OSError as error:
            why = error
    raise NodeError("cannot-listen", f"No port can be had at {host}: {why}.")


def distinct(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the usual form of each address, each once, in their order.

    Raises ``NodeError`` ``bad-address``.
    """
    return tuple(dict.fromkeys(str(parse_reachable(address)) for address in addresses))


def with_port(addresses: Iterable[str], port: int) -> tuple[str, ...]:
    """Return the hosts of some addresses, each with another port."""
    hosts = dict.fromkeys(Address.parse(address).host for address in addresses)
    return tuple(str(Address(host, port)) for host in hosts)


def _name(text: str) -> str:
    try:
        name = text.encode("idna").decode("ascii").lower().removesuffix(".")
    except UnicodeError:
        raise _bad(text, "this is not a host name") from None
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _bad(text, "this is not a host name")
    if labels[-1].isdigit():
        raise _bad(text, "this is neither an IP address nor a host name")
    return name


def _port(text: str, after: str, default: int | None) -> int:
    """Read ``:port``."""
    if not after and default is not None:
        return default
    number = after.removeprefix(":")
    if not number:
        raise _bad(text, "it needs a port, as gateway.example:9941")
    if not (number.isascii() and number.isdigit()) or len(number) > 5:
        raise _bad(text, "a port is a number from 1 to 65535")
    if not 1 <= int(number) <= 65_535:
        raise _bad(text, "a port is a number from 1 to 65535")
    return int(number)


def _is_ip(text: str, version: int | None = None) -> bool:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return False
    return version in (None, ip.version)


def _bad(text: str, why: str) -> NodeError:
    return NodeError("bad-address", f"The address {text!r} cannot be used: {why}.")
