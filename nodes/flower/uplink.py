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
from collections.abc import Callable, Iterator
from typing import TypeVar

import structlog
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from nodes.flower.errors import LinkDown, LinkError, Refusal
from nodes.flower.internals import CLIENT_FAILED, FleetClient
from nodes.flower.traffic import Traffic

log = structlog.get_logger()

FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 5.0
BEAT_S = 4.0
"""Seconds between heartbeats. More often than promised: on a busy machine some come late, and a
child that counts as gone has worked for nothing."""
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
        address: ``host:port`` of the parent.
        ca_pem: what the parent's certificate must chain to.
        transport_key_pem: the private key that the parent admitted.
        poll_s: seconds between questions for a message. One costs the parent about 6 ms of CPU.
    """

    def __init__(
        self, address: str, ca_pem: bytes, transport_key_pem: bytes, poll_s: float
    ) -> None:
        self._client = FleetClient(address, ca_pem, transport_key_pem)
        self._address, self._poll_s = address, poll_s
        self._connected = threading.Event()
        self._last_logged = ""
        self._left_behind: list[threading.Thread] = []

    @property
    def connected(self) -> bool:
        """Whether the last exchange with the parent went well."""
        return self._connected.is_set()

    @property
    def traffic(self) -> Traffic:
        """Bytes received and sent."""
        return self._client.traffic

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
                    self._until(stop, self._client.connect)
                    self._connected.set()
                    log.info("uplink-connected", address=self._address)
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

    def _answer_all(self, client_app: ClientApp, context: Context, stop: threading.Event) -> None:
        while not stop.is_set():
            message = self._until(stop, self._client.pull)
            if message is None:
                # A heartbeat found the parent gone or new: connect again.
                if not self.connected:
                    return
                stop.wait(self._poll_s)
                continue
            reply = _ask(client_app, message, context)
            self._deliver(reply, stop)

    def _deliver(self, reply: Message, stop: threading.Event) -> None:
        """Send an answer, again and again while the link is down: it may be hours of work."""
        until = reply.metadata.created_at + reply.metadata.ttl
        for wait in _backoff():
            try:
                self._until(stop, lambda: self._client.push(reply))
                return
            except Refusal as refusal:
                log.warning("answer-refused", code=refusal.code, why=refusal.sentence)
                return
            except LinkDown as error:
                self._lost(error)
                if time.time() + wait > until:
                    log.warning("answer-dropped", why="its time is over")
                    return
                if stop.wait(wait):
                    raise _Stopped from None

    def _beat(self, ended: threading.Event) -> None:
        """Send heartbeats, also while the app works on an answer."""
        while not ended.wait(BEAT_S):
            if not self.connected:
                continue
            try:
                if not self._client.heartbeat():
                    self._connected.clear()
            except LinkError as error:
                self._lost(error)

    def _lost(self, error: LinkError) -> None:
        """Log the loss of the parent once, not at every attempt."""
        if self.connected or error.code != self._last_logged:
            log.warning("uplink-down", code=error.code, why=error.sentence, address=self._address)
        self._last_logged = error.code
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


def _backoff() -> Iterator[float]:
    """Return the seconds to wait: doubling, with jitter so that siblings do not come together."""
    wait = FIRST_WAIT_S
    while True:
        yield wait * random.uniform(0.8, 1.2)  # noqa: S311  no secret
        wait = min(2 * wait, LONGEST_WAIT_S)
