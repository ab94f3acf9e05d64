"""Whom to ask next, of those who have an artefact.

Everybody back to the origin under load is how such networks fail. So holders go before the origin,
equals are drawn at random, and who refuses or fails rests for a time with jitter. Used under the
lock of the transfer that owns it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from nodes.errors import NodeError
from nodes.machine.clock import Clock
from nodes.machine.randomness import Randomness
from nodes.peers.artefacts.source import Source, fraction
from nodes.peers.wire.errors import PeerError
from protocol import NodeId

ENOUGH_HOLDERS = 2
"""With so many holders that answer, the origin is left in peace."""


@dataclass(frozen=True)
class Pace:
    """The times of a transfer, in seconds, and how often something is tried.

    Attributes:
        rest: the first pause of a source that failed; it doubles up to ``longest_rest``.
        failures: so many in a row, and a source is given up.
        stall: without a byte for so long, a source's parts go to others.
        slow: a part may take so long while another source has nothing to do.
        double: in the end, a part that took so long is asked of a second source.
        locate: so often who has it is asked again.
        patience: without a byte from anybody for so long, the transfer ends.
        look: the scheduler wakes at least so often.
    """

    rest: float = 0.5
    longest_rest: float = 10.0
    failures: int = 4
    stall: float = 20.0
    slow: float = 10.0
    double: float = 1.0
    locate: float = 3.0
    patience: float = 300.0
    look: float = 0.1


@dataclass
class _Seat:
    source: Source
    rests_until: float = 0.0
    failures: int = 0
    overloads: int = 0
    busy: bool = False
    dropped: bool = False

    @property
    def is_trusted(self) -> bool:
        """Whether it can be counted on: not one that always says that it is overloaded."""
        return not self.dropped and self.failures == 0 and self.overloads < 3


class Pool:
    """The sources of one transfer."""

    def __init__(
        self, sources: Iterable[Source], clock: Clock, randomness: Randomness, pace: Pace
    ) -> None:
        self._clock, self._randomness, self._pace = clock, randomness, pace
        self._seats: dict[NodeId, _Seat] = {}
        self.add(sources)

    def add(self, sources: Iterable[Source]) -> None:
        """Take in sources that were found; one that was given up stays so."""
        for source in sources:
            self._seats.setdefault(source.name, _Seat(source))

    def free(self, without: Collection[NodeId] = ()) -> list[Source]:
        """List the sources that may be asked now, the best first."""
        now = self._clock.monotonic()
        seats = [
            seat
            for seat in self._seats.values()
            if not (seat.dropped or seat.busy or seat.rests_until > now)
            and seat.source.name not in without
        ]
        holders = [seat for seat in self._seats.values() if not seat.source.is_origin]
        if sum(seat.is_trusted for seat in holders) >= ENOUGH_HOLDERS:
            seats = [seat for seat in seats if not seat.source.is_origin]
        draw = {seat.source.name: self._randomness.bits(53) for seat in seats}
        seats.sort(key=lambda s: (s.source.is_origin, s.failures, draw[s.source.name]))
        return [seat.source for seat in seats]

    def take(self, source: Source) -> None:
        """Note that a source is being asked."""
        self._seats[source.name].busy = True

    def worked(self, source: Source) -> None:
        """Note that a source gave a part."""
        seat = self._seats[source.name]
        seat.failures = seat.overloads = 0

    def done(self, source: Source) -> None:
        """Note that a source is not being asked any more."""
        self._seats[source.name].busy = False

    def failed(self, source: Source, error: Exception) -> None:
        """Let a source rest for what it answered; give it up where asking again has no use."""
        seat = self._seats[source.name]
        retry_ms = error.retry_ms if isinstance(error, PeerError) else None
        if isinstance(error, NodeError) and error.code == "not-here":
            seat.dropped = True
        elif retry_ms is not None:
            seat.overloads += 1
            self._rest(seat, min(retry_ms / 1000, self._pace.longest_rest), seat.overloads)
        else:
            seat.failures += 1
            seat.dropped |= seat.failures >= self._pace.failures
            self._rest(seat, self._pace.rest, seat.failures)

    def drop(self, source: Source) -> None:
        """Give a source up."""
        self._seats[source.name].dropped = True

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left to ask, now or later."""
        return all(seat.dropped for seat in self._seats.values())

    def _rest(self, seat: _Seat, first_s: float, times: int) -> None:
        """Rest for a time that doubles, and that is different for each who waits."""
        pause = min(first_s * 2 ** (times - 1), self._pace.longest_rest)
        seat.rests_until = self._clock.monotonic() + pause * (0.5 + fraction(self._randomness))
