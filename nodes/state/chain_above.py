"""The installed chain above the node, and every change of it that still stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from nodes.state.events import ChainInstalled
from nodes.state.records import ZERO, HeldRelease, Install
from protocol import Digest

REMEMBERED = 512
"""Changes of the chain that a state remembers; older ones nobody above can undo any more."""


@dataclass
class ChainAbove:
    """The chain that the node follows.

    Attributes:
        snapshot, sequence: of the parent's snapshot that was installed last; ``envelope``: its
            stored bytes.
        links: the releases of the chain, root first.
        installs: the last changes of the chain that nothing took back since.
        forgotten: how many standing changes came before those.
    """

    snapshot: Digest | None = None
    envelope: Digest | None = None
    sequence: int = 0
    links: tuple[HeldRelease, ...] = ()
    installs: list[Install] = field(default_factory=list)
    forgotten: int = 0

    def install(self, event: ChainInstalled) -> None:
        """Take the chain of a new snapshot."""
        self.snapshot, self.envelope = event.snapshot, event.envelope
        self.sequence, self.links = event.sequence, event.chain

    def place_of(self, install: Install) -> int:
        """Return the place of a change among all that stand, as an event names it."""
        return self.forgotten + self.installs.index(install)

    def follow(self, event: ChainInstalled, moment: int) -> list[Install]:
        """Record what a changed chain brought in; return the earlier installs that it undoes.

        One that is forgotten stands for the beginning: everything came after it.
        """
        places = event.undone.installs if event.undone else ()
        taken_back = [self._at(place) for place in places]
        if places:
            start = self.forgotten
            self.installs = [
                x for place, x in enumerate(self.installs, start) if place not in places
            ]
            self.forgotten -= sum(place < start for place in places)
        self.installs.append(Install(event.brought or {}, event.effect or ZERO, moment))
        if len(self.installs) > REMEMBERED:
            del self.installs[0]
            self.forgotten += 1
        return taken_back

    def _at(self, place: int) -> Install:
        if place < self.forgotten:
            return Install({}, ZERO, 0)
        return self.installs[place - self.forgotten]
