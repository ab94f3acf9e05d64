"""How many connections one caller calls on: of more than it may have, the earlier ones are closed.

gRPC bounds what runs on one connection, not how many connections somebody opens, and closes none
by itself. So the socket is found among this process's own by the address at its other end, and shut
down; gRPC takes that for the other side hanging up.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from pathlib import Path

Place = tuple[str, int]
"""A host and a port."""

GATHER_S = 0.5
"""Connections to close are gathered for so long: finding them takes a look at every socket."""
_OPEN_FILES = Path("/dev/fd")


class Connections:
    """The connections on which the callers of one listener call. Used from one event loop.

    Args:
        most: connections of one caller; those that it called on last stay.
        callers: how many callers are remembered.
        hang_up: closes this process's connections with the others at some places.
    """

    def __init__(
        self,
        most: int,
        callers: int = 8192,
        hang_up: Callable[[Iterable[Place]], object] | None = None,
    ) -> None:
        self._most, self._callers, self._hang_up = most, callers, hang_up or hang_up_on
        self._known: OrderedDict[str, OrderedDict[str, None]] = OrderedDict()
        self._surplus: set[Place] = set()

    def seen(self, caller: str, peer: str) -> None:
        """Note a call of a caller on a connection, ``peer`` as gRPC names it."""
        known = self._known.setdefault(caller, OrderedDict())
        known[peer] = None
        known.move_to_end(peer)
        self._known.move_to_end(caller)
        if len(self._known) > self._callers:
            self._known.popitem(last=False)
        if len(known) > self._most:
            surplus, _ = known.popitem(last=False)
            self._close(surplus)

    def _close(self, peer: str) -> None:
        if (place := place_of(peer)) is None:
            return
        if not self._surplus:
            asyncio.get_running_loop().call_later(GATHER_S, self._close_now)
        self._surplus.add(place)

    def _close_now(self) -> None:
        surplus, self._surplus = self._surplus, set()
        asyncio.get_running_loop().run_in_executor(None, self._hang_up, surplus)


def place_of(peer: str) -> Place | None:
    """Read where a connection comes from, as gRPC names it: ``ipv4:10.0.0.7:51234``."""
    address = peer.replace("%5B", "[").replace("%5D", "]").partition(":")[2]
    host, _, port = address.rpartition(":")
    try:
        return _usual(host.strip("[]")), int(port)
    except ValueError:
        return None


def hang_up_on(places: Iterable[Place]) -> int:
    """Shut down this process's connections with others at some places; return how many."""
    wanted, closed = set(places), 0
    try:
        descriptors = [int(entry.name) for entry in _OPEN_FILES.iterdir()]
    except OSError:
        return 0
    for descriptor in descriptors:
        with suppress(OSError):  # closed meanwhile
            # A copy: what it names stays the same if the descriptor is closed and used anew.
            copy = os.dup(descriptor)
            try:
                closed += _shut_down(copy, wanted)
            finally:
                os.close(copy)
    return closed


def _shut_down(descriptor: int, wanted: Collection[Place]) -> bool:
    """Shut a connection down if it is with one of some places."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return False
    connection = socket.socket(fileno=descriptor)
    try:
        host, port = connection.getpeername()[:2]
        is_wanted = (_usual(host), port) in wanted
        if is_wanted:
            connection.shutdown(socket.SHUT_RDWR)
    except (OSError, ValueError, TypeError):  # not connected any more, or of another family
        return False
    finally:
        connection.detach()
    return is_wanted


def _usual(host: str) -> str:
    ip = ipaddress.ip_address(host.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)
