"""A child's link to its parent: connect, take one message at a time, answer it.

It guarantees that nothing on the network ends it: it reconnects for as long as the node lives, and
it returns within about a second of ``stop``. An answer is sent until it arrives, the parent refuses
it or its time is over. It does not know what messages mean: the ``ClientApp`` does.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

import structlog
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from nodes.flower.errors import LinkDown, LinkError, Refusal
from nodes.flower.internals import CLIENT_FAILED, FleetClient, date
from nodes.flower.reports import LinkReports
from nodes.flower.traffic import Traffic
from nodes.machine.clock import Clock
from nodes.machine.troubles import Troubles

log = structlog.get_logger()

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
BEAT_S = 4.0
"""Seconds between heartbeats. More often than promised: on a busy machine some come late, and a
child that counts as gone has worked for nothing."""
WAIT_S = 20
"""Seconds for which a question for messages may wait at the parent."""
_LOOK_AT_STOP_S = 0.25

T = TypeVar("T")


def empty_context() -> Context:
    """Make the context of a ClientApp that keeps its state elsewhere."""
    return Context(run_id=0, node_id=0, node_config={}, state=RecordDict(), run_config={})


class _Stopped(Exception):
    """Raised when ``stop`` was set while something was under way."""


class Uplink:
    """The connection of one node to its parent.

    Args:
        addresses: ``host:port`` of the parent, one or several, tried in turn.
        ca_pem: what the parent's certificate must chain to.
        transport_key_pem: the private key that the parent admitted.
        poll_s: seconds between questions for a message, where the parent answers at once instead of
            when it has one.
        troubles: where it is kept for ``status`` that the parent cannot be reached.
        on_connected: told of the address that led to the parent.
        clock: the machine's; by default the real one.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        ca_pem: bytes,
        transport_key_pem: bytes,
        poll_s: float,
        *,
        troubles: Troubles | None = None,
        on_connected: Callable[[str], None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        self._client = FleetClient(addresses[0], ca_pem, transport_key_pem, clock)
        self._addresses, self._address, self._poll_s = tuple(addresses), addresses[0], poll_s
        self._reports, self._on_connected = LinkReports(troubles), on_connected
        self._connected = threading.Event()
        self._left_behind: list[threading.Thread] = []

    @property
    def connected(self) -> bool:
        """Whether the last exchange with the parent went well."""
        return self._connected.is_set()

    @property
    def traffic(self) -> Traffic:
        """Bytes received and sent."""
        return self._client.traffic

    @property
    def ahead_s(self) -> float:
        """Seconds by which this machine's clock is ahead of the parent's, as far as is known."""
        return self._client.signer.clock.ahead_s

    def set_addresses(self, addresses: Sequence[str]) -> None:
        """Try these addresses when the link is down; one that is up stays."""
        self._addresses = tuple(addresses)

    def set_authority(self, ca_pem: bytes) -> None:
        """Trust this authority from the next connection on. Raises ``NodeError``."""
        self._client.ways.trust(ca_pem)

    def run(self, client_app: ClientApp, context: Context, stop: threading.Event) -> None:
        """Answer messages with ``client_app`` until ``stop`` is set.

        The app runs in the calling thread. What it raises is logged and answered with an error.
        """
        ended = threading.Event()
        heart = threading.Thread(
            target=self._beat, args=(ended,), name="flower-heartbeat", daemon=True
        )
        heart.start()
        try:
            waits = _backoff()
            while not stop.is_set():
                try:
                    self._connect(stop)
                    waits = _backoff()
                    self._answer_all(client_app, context, stop)
                except LinkError as error:
                    self._lost(error)
                    stop.wait(next(waits))
        except _Stopped:
            pass
        finally:
            ended.set()
            if self.connected:
                self._say_goodbye()
            heart.join(1)
            self._close(heart)

    def _connect(self, stop: threading.Event) -> None:
        """Try each address once. Raises the error that says most, of those they gave."""
        first = [a for a in self._addresses if a == self._address]  # it worked last
        errors: list[tuple[LinkError, str]] = []
        for address in dict.fromkeys((*first, *self._addresses)):
            try:
                self._until(stop, partial(self._client.connect, address))
            except LinkError as error:
                errors.append((error, address))
                continue
            self._address = address
            self._connected.set()
            self._reports.connected(address)
            self._on_connected(address)
            self._reports.clock(self._client.signer.clock.ahead_s)
            return
        worst, where = min(errors, key=lambda failed: _telling(failed[0]))
        self._reports.failed(worst, where)
        raise worst

    def _answer_all(self, client_app: ClientApp, context: Context, stop: threading.Event) -> None:
        while not stop.is_set():
            asked = time.monotonic()
            message = self._until(stop, partial(self._client.pull, WAIT_S))
            if message is None:
                # A heartbeat found the parent gone or new: connect again.
                if not self.connected:
                    return
                # What the parent let wait was not answered early.
                stop.wait(max(0.0, self._poll_s - (time.monotonic() - asked)))
                continue
            pulled = time.monotonic()
            reply = _ask(client_app, message, context)
            date(reply, message, time.monotonic() - pulled)
            self._deliver(reply, pulled + message.metadata.ttl, stop)

    def _deliver(self, reply: Message, until: float, stop: threading.Event) -> None:
        """Send an answer, again and again while the link is down: it may be hours of work."""
        for wait in _backoff():
            with contextlib.suppress(LinkError):  # reported; the parent may have moved
                if not self.connected:
                    self._connect(stop)
            if self.connected:
                try:
                    self._until(stop, lambda: self._client.push(reply))
                    return
                except Refusal as refusal:
                    log.warning("answer-refused", code=refusal.code, why=refusal.sentence)
                    return
                except LinkDown as error:
                    self._lost(error)
            if time.monotonic() + wait > until:
                log.warning("answer-dropped", why="its time is over")
                return
            if stop.wait(wait):
                raise _Stopped

    def _beat(self, ended: threading.Event) -> None:
        """Send heartbeats, also while the app works on an answer."""
        while not ended.wait(BEAT_S):
            if not self.connected:
                continue
            try:
                if not self._client.heartbeat():
                    self._connected.clear()
                self._reports.clock(self._client.signer.clock.ahead_s)
            except LinkError as error:
                self._lost(error)

    def _lost(self, error: LinkError) -> None:
        """Note that the parent is lost; it is logged once, not at every attempt."""
        if self.connected:
            self._reports.lost(error, self._address)
        self._connected.clear()

    def _close(self, heart: threading.Thread) -> None:
        """Close the client when no thread uses it.

        A socket closed under a reader gives its number to the next connection of this process, and
        the reader reads from that.
        """
        users = [t for t in (heart, *self._left_behind) if t.is_alive()]

        def close() -> None:
            for user in users:
                user.join()
            self._client.close()

        if users:
            threading.Thread(target=close, name="flower-closing", daemon=True).start()
        else:
            close()

    def _say_goodbye(self) -> None:
        """Go offline, trying for a second: the parent otherwise notices after two heartbeats."""
        late = threading.Event()
        timer = threading.Timer(1.0, late.set)
        timer.start()
        with contextlib.suppress(LinkError, _Stopped):
            self._until(late, self._client.deactivate)
        timer.cancel()
        self._connected.clear()

    def _until(self, stop: threading.Event, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread and leave it behind when ``stop`` is set.

        A read from a parent that vanished cannot be interrupted, only left to its own time-out.
        """
        results: list[T] = []
        errors: list[BaseException] = []

        def do() -> None:
            try:
                results.append(work())
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=do, name="flower-request", daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_LOOK_AT_STOP_S)
            if stop.is_set() and thread.is_alive():
                self._left_behind.append(thread)
                raise _Stopped
        if errors:
            raise errors[0]
        return results[0]


def _ask(client_app: ClientApp, message: Message, context: Context) -> Message:
    try:
        return client_app(message, context)
    except Exception as error:
        log.exception("client-app-failed", message_type=message.metadata.message_type)
        return Message(Error(CLIENT_FAILED, type(error).__name__), reply_to=message)


def _telling(error: LinkError) -> int:
    """Rank errors: what the parent itself refused says most, what never answered least."""
    if isinstance(error, Refusal):
        return 0
    return 2 if error.code in {"no-answer", "no-route", "connection-refused", "unknown-name"} else 1


def _backoff() -> Iterator[float]:
    """Return the seconds to wait: doubling, with jitter so that siblings do not come together."""
    wait = FIRST_WAIT_S
    while True:
        yield wait * random.uniform(0.8, 1.2)  # noqa: S311  no secret
        wait = min(2 * wait, LONGEST_WAIT_S)
