"""The installed chain above the node, and every change of it that still stands."""

from __future__ import annotations

from dataclasses import dataclass, field

from nodes.state.events import ChainInstalled
from nodes.state.records import ZERO, HeldRelease, Install
from protocol import Digest


@dataclass
class ChainAbove:
    """The chain that the node follows.

    Attributes:
        snapshot, sequence: of the parent's snapshot that was installed last.
        links: the releases of the chain, root first.
        installs: the changes of the chain that nothing took back since.
    """

    snapshot: Digest | None = None
    sequence: int = 0
    links: tuple[HeldRelease, ...] = ()
    installs: list[Install] = field(default_factory=list)

    def install(self, event: ChainInstalled) -> None:
        """Take the chain of a new snapshot."""
        self.snapshot, self.sequence, self.links = event.snapshot, event.sequence, event.chain

    def follow(self, event: ChainInstalled, moment: int) -> list[Install]:
        """Record what a changed chain brought in; return the earlier installs that it undoes."""
        gone = event.undone.installs if event.undone else ()
        taken_back = [self.installs[place] for place in gone]
        self.installs = [x for place, x in enumerate(self.installs) if place not in gone]
        self.installs.append(Install(event.brought or {}, event.effect or ZERO, moment))
        return taken_back
