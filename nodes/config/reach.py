"""Where a node is reached, and where it reaches its parent.

A port is chosen once and kept. What a parent hands out follows from its ``[downlink]`` and from the
addresses given when children were enrolled; what a child knows of its parent is its ``[uplink]``
and what the parent told since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from nodes.config.addresses import (
    Address,
    distinct,
    is_wildcard,
    own_addresses,
    own_name,
    parse_reachable,
    with_port,
)
from nodes.config.sections import DownlinkSettings, NodeConfig
from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.state.home import ENDPOINT_FILE, Home

GIVEN_FILE = "given-addresses.json"
"""Addresses of this node that a person gave when a child was enrolled."""
PARENT_FILE = "parent-addresses.json"
"""What a child learned of its parent's addresses: those told, and the one that worked last."""
MOST_ADDRESSES = 8
"""Handed out and kept of one parent: each is tried in turn."""


# -- the parent's side --------------------------------------------------------------------------


def listening_port(home: Home, config: NodeConfig) -> int:
    """Return the port to listen on: the configured one, or the one kept since the first run.

    0 if there is neither: then the first run chooses. Raises ``NodeError`` ``no-downlink``.
    """
    return _downlink(config).port or _kept_port(home)


def present_addresses(
    home: Home, config: NodeConfig, *, local: bool = False, port: int | None = None
) -> tuple[str, ...]:
    """Return where children reach this node now, ``host:port``, the best first.

    Args:
        local: for a child on this machine, which gets loopback first where this node listens there.
        port: another port of this node than that of Flower's link.

    Raises ``NodeError`` ``no-downlink``, and ``no-address`` with what to do.
    """
    if port is not None:
        return with_port(_present(home, config, port, local=local), port)
    return _present(home, config, listening_port(home, config), local=local)


def _present(home: Home, config: NodeConfig, port: int, *, local: bool) -> tuple[str, ...]:
    downlink = _downlink(config)
    everywhere = is_wildcard(downlink.host)
    addresses: list[str] = []
    if port and everywhere and local:
        addresses.append(str(Address("::1" if ":" in downlink.host else "127.0.0.1", port)))
    if downlink.names:
        # A name may have a port of its own: a router forwards it.
        addresses += [str(_named(name, port)) for name in downlink.names]
    elif not port:
        if not given_addresses(home):
            raise _no_port()
    elif everywhere:
        found = own_addresses(ipv6=":" in downlink.host)
        addresses += [str(Address(host, port)) for host in found]
    else:
        addresses.append(str(Address(downlink.host, port)))
    addresses += given_addresses(home)
    if not addresses:
        raise NodeError(
            "no-address",
            "This machine has no address that another one could reach: connect it to a network, "
            "set [downlink] names, or give --address.",
        )
    return tuple(dict.fromkeys(addresses))[:MOST_ADDRESSES]


def certificate_names(home: Home, config: NodeConfig) -> tuple[str, ...]:
    """Return the names and IP addresses that this node's TLS certificate must hold."""
    downlink = _downlink(config)
    texts = (*downlink.names, *given_addresses(home))
    hosts = [Address.parse(text, 1).host for text in texts]
    if not is_wildcard(downlink.host):
        hosts.append(downlink.host)
    else:
        hosts += own_addresses(ipv6=":" in downlink.host)
        if name := own_name():
            hosts.append(name)
    return tuple(dict.fromkeys(hosts))


def give_address(home: Home, address: str) -> str:
    """Remember an address that a person gives out; return its usual form.

    The running node takes it into its certificate. Raises ``NodeError`` ``bad-address``.
    """
    usual = str(parse_reachable(address))
    known = given_addresses(home)
    if usual not in known:
        kept = [usual, *known][:MOST_ADDRESSES]
        write_file(home.folder / GIVEN_FILE, json.dumps({"addresses": kept}).encode())
    return usual


def given_addresses(home: Home) -> tuple[str, ...]:
    """Return the addresses that a person gave out, the latest first."""
    return _read(home, GIVEN_FILE)[0]


def _downlink(config: NodeConfig) -> DownlinkSettings:
    if config.downlink is None:
        raise NodeError("no-downlink", "This node has no [downlink]; it cannot have children.")
    return config.downlink


def _kept_port(home: Home) -> int:
    try:
        endpoint = json.loads((home.folder / ENDPOINT_FILE).read_text("utf-8"))
        return Address.parse(endpoint["address"]).port
    except (OSError, ValueError, TypeError, KeyError, AttributeError, NodeError):
        return 0


def _named(name: str, port: int) -> Address:
    """Read one of ``[downlink] names``; a port that it does not name is this node's."""
    try:
        return parse_reachable(name)
    except NodeError:
        if not port:
            raise _no_port() from None
        return parse_reachable(name, port)


def _no_port() -> NodeError:
    return NodeError(
        "no-address",
        "The parent chooses its port when it first runs and has not run yet: "
        "start it once, set [downlink] port, or give --address.",
    )


# -- the child's side ---------------------------------------------------------------------------


class ParentAddresses:
    """What a child knows of where its parent is; kept in its state folder.

    Args:
        configured: ``[uplink] addresses``, of Flower's link.
        doors: ``[uplink] doors``, of the parent's service for whoever joins or renews.
    """

    def __init__(self, home: Home, configured: Sequence[str], doors: Sequence[str] = ()) -> None:
        self._home, self._configured = home, distinct(configured)
        self._configured_doors = distinct(doors)
        self._told, self._worked = _read(home, PARENT_FILE)
        self._peers = _read(home, PARENT_FILE, "peers")[0]
        self._doors = _read(home, PARENT_FILE, "doors")[0]

    @property
    def in_turn(self) -> tuple[str, ...]:
        """The addresses to try: the one that worked last, those told, those configured."""
        known = (*self._told, *self._configured)
        first = (self._worked,) if self._worked in known else ()
        return tuple(dict.fromkeys((*first, *known)))

    @property
    def peers(self) -> tuple[str, ...]:
        """Where the parent's service for its members is; the parent told."""
        return self._peers

    @property
    def doors(self) -> tuple[str, ...]:
        """Where its service for whoever joins or renews is: those told, those configured."""
        return tuple(dict.fromkeys((*self._doors, *self._configured_doors)))

    def worked(self, address: str) -> None:
        """Remember the address that led to the parent."""
        if address != self._worked:
            self._worked = address
            self._write()

    def tell(
        self, addresses: Sequence[str], peers: Sequence[str] = (), doors: Sequence[str] = ()
    ) -> bool:
        """Take the parent's present addresses; return whether those of Flower's link are news.

        Nothing is taken of a kind of which none is told. Raises ``NodeError`` ``bad-address``; then
        nothing changes.
        """
        told, others, at_doors = (
            distinct(given)[:MOST_ADDRESSES] or known
            for given, known in (
                (addresses, self._told),
                (peers, self._peers),
                (doors, self._doors),
            )
        )
        is_news = told != self._told
        if is_news or (others, at_doors) != (self._peers, self._doors):
            self._told, self._peers, self._doors = told, others, at_doors
            self._write()
        return is_news

    def _write(self) -> None:
        known = {
            "addresses": self._told,
            "worked": self._worked,
            "peers": self._peers,
            "doors": self._doors,
        }
        write_file(self._home.folder / PARENT_FILE, json.dumps(known).encode())


def _read(home: Home, name: str, kind: str = "addresses") -> tuple[tuple[str, ...], str]:
    """Read addresses and the one that worked; nothing of a file that is missing or damaged."""
    try:
        known = json.loads((home.folder / name).read_text("utf-8"))
        return distinct(known[kind])[:MOST_ADDRESSES], str(known.get("worked", ""))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, NodeError):
        return (), ""
