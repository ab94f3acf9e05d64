"""The node's offers to its parent: δ = s - b, what is under way, and what was counted of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nodes.state.events import OfferCounted, OfferWithdrawn, Trained, UpdateSent
from nodes.state.records import ZERO, Counted, Sent
from protocol import LIMITS, Digest, NodeId

ANSWERED_ROUNDS = 2 * LIMITS.max_staleness
"""The age in rounds up to which a parent takes answers; a late one sits in the next round."""

REMEMBERED = 512
"""Counted offers that a state remembers; what counted older ones cannot be taken back any more."""

MOST_CONTRIBUTIONS = 4096
"""Contributions since the baseline that a state remembers: a root has no baseline to start anew."""

Contribution = tuple[int, NodeId]
"""A release of the node's own that counted a child."""


@dataclass
class Offers:
    """The baseline b, the copies s that were sent, and the contributors to what is on offer.

    Attributes:
        baseline: b, of what the parent has counted; ``baseline_ms``: since when.
        sent: the copy of each update that has no verdict yet.
        contributions: which children the node's releases counted since the baseline.
        counted: the last offers that the parent counted and has not taken back; ``forgotten``: how
            many there were before those; ``fresh``: the deltas of those counted since a chain was
            last installed.
        trained: what a device learned last.
        seen_release: the parent's release up to which verdicts were read.
    """

    baseline: Digest = ZERO
    baseline_ms: int = 0
    sent: dict[Digest, Sent] = field(default_factory=dict)
    contributions: list[Contribution] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    forgotten: int = 0
    fresh: list[Digest] = field(default_factory=list)
    trained: Trained | None = None
    seen_release: Digest | None = None

    def contributors(self) -> int:
        """Distinct children whose updates were released since the baseline."""
        return len({child for _, child in self.contributions})

    def contribute(self, version: int, children: Collection[NodeId]) -> None:
        """Note whose updates a release of the node's own counted."""
        self.contributions += [(version, child) for child in children]
        del self.contributions[:-MOST_CONTRIBUTIONS]

    def place_of(self, offer: Counted) -> int:
        """Return the place of a counted offer among all that stand, as an event names it."""
        return self.forgotten + self.counted.index(offer)

    def start(self, at_ms: int) -> None:
        """Begin to wait for a first promotion, unless that began before."""
        self.baseline_ms = self.baseline_ms or at_ms

    def send(self, event: UpdateSent) -> None:
        """Remember the copy of an update that leaves.

        An update from ``ANSWERED_ROUNDS`` before has its verdict, or it was lost.
        """
        oldest = event.round - ANSWERED_ROUNDS - 1
        self.sent = {update: sent for update, sent in self.sent.items() if sent.round >= oldest}
        self.sent[event.update] = Sent(event.copy, event.version, event.round)

    def count(self, event: OfferCounted, at_ms: int) -> None:
        """Take an offer off: its copy becomes the baseline."""
        sent = self.sent.pop(event.update)
        self.baseline, self.baseline_ms = sent.copy, at_ms
        covered = tuple(c for c in self.contributions if c[0] <= sent.version)
        self.counted.append(Counted(event.update, event.version, event.delta, covered))
        if len(self.counted) > REMEMBERED:
            del self.counted[0]
            self.forgotten += 1
        self.fresh.append(event.delta)
        self.contributions = [c for c in self.contributions if c[0] > sent.version]

    def settle(self, update: Digest) -> None:
        """Forget an update of which nothing counts."""
        self.sent.pop(update, None)

    def withdraw(self, event: OfferWithdrawn, stands: Callable[[int, NodeId], bool]) -> None:
        """Put an offer whose verdict the parent took back on offer again."""
        gone = next((offer for offer in self.counted if offer.update == event.update), None)
        if gone is None:
            self.forgotten -= 1
        else:
            self.counted.remove(gone)
            self._offer_again([gone], stands)
            if gone.delta in self.fresh:
                self.fresh.remove(gone.delta)
        self.displace(event.baseline, event.copies)

    def undo(self, places: Collection[int], stands: Callable[[int, NodeId], bool]) -> None:
        """Put offers that undone releases of the parent had counted on offer again."""
        start = self.forgotten
        self._offer_again([self.counted[p - start] for p in places if p >= start], stands)
        self.counted = [x for place, x in enumerate(self.counted, start) if place not in places]
        self.forgotten -= sum(place < start for place in places)

    def keep_standing(self, stands: Callable[[int, NodeId], bool]) -> None:
        """Forget contributions that are no longer part of the adapter."""
        self.contributions = [c for c in self.contributions if stands(*c)]

    def restart(self, baseline: Digest) -> None:
        """Begin anew from this baseline, with nothing under way."""
        self.baseline, self.sent, self.fresh, self.trained = baseline, {}, [], None

    def displace(self, baseline: Digest, copies: Mapping[Digest, Digest]) -> None:
        """Move the baseline and every copy under way to where they are now."""
        self.baseline = baseline
        self.sent = {
            update: replace(sent, copy=copies.get(update, sent.copy))
            for update, sent in self.sent.items()
        }

    def _offer_again(
        self, offers: Sequence[Counted], stands: Callable[[int, NodeId], bool]
    ) -> None:
        again = [c for offer in offers for c in offer.contributions if stands(*c)]
        self.contributions = [*again, *self.contributions]
