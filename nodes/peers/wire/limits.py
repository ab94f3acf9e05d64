"""How much one caller may ask: calls a second, calls at a time, all of them together."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from nodes.peers.wire.errors import PeerError

LONG = frozenset({"Attend", "WatchSnapshot"})
"""Calls that wait by design: they are bounded by themselves, and hold no thread."""


@dataclass(frozen=True)
class WireLimits:
    """What a listener allows. Units stand in the names."""

    calls_per_s: float = 50.0
    burst: int = 200
    processor_share: float = 0.25  # of one core, for the work that one caller causes
    at_once: int = 16  # calls of one caller
    long_at_once: int = 4  # long ones of one caller
    in_all: int = 2048  # calls of everybody, long ones included
    threads: int = 8
    threads_of_one: int = 3  # of one caller at a time; its other calls wait for these
    waiting: int = 256  # calls that have a thread or wait for one
    connections: int = 4096  # open ones of everybody; more are closed as they come
    connections_of_one: int = 8  # on which one caller calls; the ones before are closed
    handshake_s: float = 10.0
    idle_s: float = 600.0  # a connection without a call is closed after so long
    message_bytes: int = 1024 * 1024
    stream_messages: int = 100_000
    unary_s: float = 60.0
    connection_age_s: float = 3600.0
    callers: int = 8192  # whose figures are remembered


FOR_STRANGERS = WireLimits(
    threads=4, threads_of_one=2, waiting=128, connections_of_one=64, idle_s=30.0
)
"""For a listener without client certificates. Callers are addresses: many may share one. Its
threads are its own, so that strangers hold none of those that serve members."""


@dataclass
class _Caller:
    tokens: float
    at: float
    running: int = 0
    long: int = 0


@dataclass
class Meter:
    """Counts every caller's calls. Used from one thread: the server's event loop."""

    limits: WireLimits
    monotonic: Callable[[], float]
    _callers: OrderedDict[str, _Caller] = field(default_factory=OrderedDict)
    _running: int = 0

    @contextmanager
    def call(self, caller: str, method: str) -> Iterator[None]:
        """Count a call from its beginning to its end.

        Raises ``PeerError``: ``too-many-calls`` or ``overloaded``, with a time to come back.
        """
        self.spend(caller)
        known, limits, is_long = self._callers[caller], self.limits, method in LONG
        most = limits.long_at_once if is_long else limits.at_once
        if (known.long if is_long else known.running) >= most:
            raise PeerError(
                "too-many-calls", f"At most {most} calls of {method}'s kind at a time.", 1000
            )
        if self._running >= limits.in_all:
            raise PeerError("overloaded", "This node answers as many calls as it can.", 5000)
        self._running += 1
        known.running += not is_long
        known.long += is_long
        try:
            yield
        finally:
            self._running -= 1
            known.running -= not is_long
            known.long -= is_long

    def spend(self, caller: str) -> None:
        """Take one call, or one message of a stream, from what a caller may send.

        Raises ``PeerError`` ``too-many-calls``.
        """
        now, limits = self.monotonic(), self.limits
        known = self._callers.get(caller)
        if known is None:
            known = self._callers[caller] = _Caller(limits.burst, now)
            self._forget()
        self._callers.move_to_end(caller)
        earned = (now - known.at) * limits.calls_per_s
        known.tokens, known.at = min(limits.burst, known.tokens + earned), now
        if known.tokens < 1:
            wait = math.ceil(1000 * (1 - known.tokens) / limits.calls_per_s)
            raise PeerError(
                "too-many-calls",
                f"At most {limits.calls_per_s:g} calls a second, {limits.burst} at once.",
                max(wait, 100),
            )
        known.tokens -= 1

    def charge(self, caller: str, processor_s: float) -> None:
        """Take what a call cost in processor time from what its caller may ask from now on.

        A caller may owe: then it is refused until that is made up for, a burst at most.
        """
        limits, known = self.limits, self._callers.get(caller)
        if known is not None:
            cost = processor_s * limits.calls_per_s / limits.processor_share
            known.tokens = max(known.tokens - cost, -float(limits.burst))

    def figures(self) -> Mapping[str, int]:
        """Return how many calls of each caller run. Thread-safe."""
        known = list(self._callers.items())
        return {name: each.running + each.long for name, each in known if each.running + each.long}

    def _forget(self) -> None:
        """Forget idle callers, the longest idle first, where there are too many."""
        while len(self._callers) > self.limits.callers:
            idle = next((n for n, c in self._callers.items() if not c.running + c.long), None)
            if idle is None:
                return
            del self._callers[idle]
