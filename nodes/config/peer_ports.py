"""The ports of a node's peer service: configured, or chosen once and kept."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from nodes.config.addresses import Address, free_port, is_wildcard, own_addresses
from nodes.config.reach import present_addresses
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.state.home import Home

PORTS_FILE = "peer-ports.json"
EVERYWHERE = "0.0.0.0"  # noqa: S104  every call there needs a certificate of the circle


@dataclass(frozen=True)
class PeerPorts:
    """Where a node listens: see ``[peers]`` in ``nodes.config.sections``."""

    port: int
    door: int
    siblings: int
    swarm: int


def peer_host(config: NodeConfig) -> str:
    """Return the address on which the peer service listens."""
    if config.peers.host is not None:
        return config.peers.host
    return config.downlink.host if config.downlink else EVERYWHERE


def peer_ports(home: Home, config: NodeConfig) -> PeerPorts:
    """Return the ports; what is not configured is chosen now, and kept.

    Raises ``NodeError`` ``cannot-listen``.
    """
    configured = {name: getattr(config.peers, name) for name in PeerPorts.__annotations__}
    kept = _read(home)
    host = peer_host(config)
    ports: dict[str, int] = {}
    for name, port in configured.items():
        chosen = port or kept.get(name, 0)
        while not chosen or chosen in ports.values():
            chosen = free_port(host)
        ports[name] = chosen
    if any(kept.get(name) != port for name, port in ports.items() if not configured[name]):
        write_file(home.folder / PORTS_FILE, json.dumps(ports).encode())
    return PeerPorts(**ports)


def peer_addresses(home: Home, config: NodeConfig, port: int) -> tuple[str, ...]:
    """Return where others reach a port of this node's peer service, the best first; none on a
    machine without a network."""
    host = peer_host(config)
    if config.downlink is not None:
        try:
            return present_addresses(home, config, local=True, port=port)
        except NodeError:
            return ()
    if not is_wildcard(host):
        return (str(Address(host, port)),)
    # Loopback last: a parent on this machine reaches it there when there is no network.
    hosts = [*own_addresses(ipv6=":" in host), "::1" if ":" in host else "127.0.0.1"]
    return tuple(str(Address(one, port)) for one in hosts)


def _read(home: Home) -> dict[str, int]:
    try:
        kept = json.loads((home.folder / PORTS_FILE).read_text("utf-8"))
        return {name: int(kept[name]) for name in asdict(PeerPorts(0, 0, 0, 0)) if name in kept}
    except (OSError, ValueError, TypeError, KeyError):
        return {}
