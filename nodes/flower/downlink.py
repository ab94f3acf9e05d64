"""A parent's link to its children: Flower's fleet API over TLS, behind a door.

It guarantees that only admitted keys get in, each only for itself, and that every refusal is
reported; that a message is freed once it is answered, lost or abandoned; and that the end of
``stop`` leaves no thread and no socket. It does not know what messages mean.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from nodes.flower.fleet_server import FleetServer
from nodes.flower.grid import FleetGrid
from nodes.flower.guard import DoorLimits, Guard
from nodes.flower.server import TlsServer
from nodes.flower.traffic import Meter, Traffic
from nodes.machine.clock import Clock
from nodes.trust.tls import TlsFiles
from nodes.trust.transport_keys import canonical_pem

log = structlog.get_logger()

BEAT_S = 15.0
"""Seconds between signs of life of the run; Flower gives it up after 60."""


class Downlink:
    """The server for a node's children.

    Args:
        host: address to listen on.
        port: 0 for one that is free.
        tls: this node's files, as ``make_tls`` makes them.
        on_refused: called with a code and a short detail for every request that is refused, on the
            server's thread; it must be quick.
        limits: sizes and times at the door.
        fleet: the state of the links, to go on with what an earlier downlink left waiting; by
            default a new one.
        renew_tls: called every ``BEAT_S`` seconds, before the files in ``tls`` are looked at: what
            it renews is served from then on.
        clock: the machine's; by default the real one.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: TlsFiles,
        on_refused: Callable[[str, str], None] = lambda _code, _detail: None,
        limits: DoorLimits | None = None,
        fleet: FleetServer | None = None,
        renew_tls: Callable[[], object] = lambda: None,
        clock: Clock | None = None,
    ) -> None:
        limits = limits or DoorLimits()
        self._meter = Meter()
        self._fleet = fleet or FleetServer(limits)
        self._guard = Guard(
            self._fleet.app,
            self._fleet.inspect,
            on_refused,
            self._meter,
            limits,
            clock=clock,
        )
        self._server = TlsServer(self._guard, host, port, tls)
        self._renew_tls = renew_tls
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="flower-keeper", daemon=True)

    def start(self) -> None:
        """Listen for children. Raises ``NodeError`` ``cannot-listen``."""
        self._fleet.bells.open()
        self._server.start()
        self._keeper.start()

    def stop(self) -> None:
        """Close the server for good; without a start, or a second time, do nothing."""
        self._stop.set()
        self._fleet.bells.close()  # what waits for a message would delay the end
        self._server.stop()
        if self._keeper.ident is not None:
            self._keeper.join()

    @property
    def address(self) -> str:
        """``host:port``; the real port once it is started."""
        return self._server.address

    @property
    def traffic(self) -> Traffic:
        """Bytes that came in and went out, refused requests included."""
        return self._meter.traffic

    def admit_child(self, transport_public_pem: bytes) -> int:
        """Admit the holder of this key; return its Flower node id, derived from the key.

        Raises ``Refused`` ``bad-transport-key``.
        """
        pem = canonical_pem(transport_public_pem)
        node = self._guard.admit(pem)
        self._fleet.add(pem, node)
        return node

    def remove_child(self, flower_id: int) -> None:
        """Shut this child out and drop what waits for it; ignore an unknown id."""
        self._guard.remove(flower_id)
        self._fleet.remove(flower_id)

    def grid(self) -> FleetGrid:
        """Return the grid with which a ServerApp sends and receives, in this process."""
        return FleetGrid(self._fleet)

    def abandon(self, message_id: str) -> None:
        """Free the message and wait for its answer no more; refuse the answer if it still comes."""
        self._fleet.forget(message_id)

    def renew_certificate(self) -> None:
        """Renew the TLS files where that is due, and serve what they hold, without a restart."""
        self._renew_tls()
        if self._server.take_certificate():
            log.info("certificate-renewed")

    def _keep(self) -> None:
        while not self._stop.wait(BEAT_S):
            for duty in (self._fleet.beat, self.renew_certificate):
                try:
                    duty()
                except Exception:
                    log.exception("keeper-failed")
