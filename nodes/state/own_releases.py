"""The node's own adapter and its releases: what stands, and what was taken back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nodes.state.events import Released, Withdrawn
from nodes.state.records import ZERO, HeldRelease, Published
from protocol import Digest, NodeId, ReleaseKind


@dataclass
class OwnReleases:
    """The adapter a and the releases that led to it.

    Attributes:
        version: of the newest release; a personal device, which releases nothing, counts what it
            learned.
        releases: every release by its digest. ``published``: the same by version.
        by_rounds: the versions that rounds made.
        undone: spans of versions that rollbacks took back, (after, until].
        withdrawn: what was taken out of earlier versions.
    """

    version: int = 0
    adapter: Digest = ZERO
    latest: HeldRelease | None = None
    releases: dict[Digest, HeldRelease] = field(default_factory=dict)
    published: dict[int, Published] = field(default_factory=dict)
    by_rounds: list[int] = field(default_factory=list)
    undone: list[tuple[int, int]] = field(default_factory=list)
    withdrawn: list[Withdrawn] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        version: int,
        adapter: Digest,
        published: Iterable[Published],
        undone: list[tuple[int, int]],
        withdrawn: list[Withdrawn],
    ) -> OwnReleases:
        """Make the record of these releases, oldest first; the rest follows from them."""
        by_version = {each.held.version: each for each in published}
        newest = max(by_version, default=None)
        return cls(
            version=version,
            adapter=adapter,
            latest=by_version[newest].held if newest is not None else None,
            releases={each.held.release: each.held for each in by_version.values()},
            published=by_version,
            by_rounds=[v for v, each in by_version.items() if each.kind is ReleaseKind.ROUND],
            undone=undone,
            withdrawn=withdrawn,
        )

    def is_undone(self, version: int) -> bool:
        """Return whether a rollback has taken this version back."""
        return any(after < version <= until for after, until in self.undone)

    def stands(self, version: int, child: NodeId) -> bool:
        """Return whether a child's contribution to a release is still part of the adapter."""
        taken_out = any(w.child == child and version in w.moved for w in self.withdrawn)
        return not (self.is_undone(version) or taken_out)

    def age_of(self, started: int) -> int:
        """Count the releases made by rounds after version ``started``.

        A re-base release changes no effective model, so it does not age an update.
        """
        return sum(version > started for version in self.by_rounds)

    def decided_by_hand(self) -> int:
        """Return the moment of the last release that a person made, if it stands; 0 if there is
        none."""
        return max(
            (
                published.moment
                for version, published in self.published.items()
                if published.kind is ReleaseKind.BY_HAND and not self.is_undone(version)
            ),
            default=0,
        )

    def release(self, event: Released, moment: int) -> None:
        """Record the node's newest release."""
        newest = event.held
        self.version, self.adapter, self.latest = newest.version, newest.adapter, newest
        self.releases[newest.release] = newest
        self.published[newest.version] = Published(newest, event.kind, event.moved, moment)
        self.undone = list(event.undone)
        if event.kind is ReleaseKind.ROUND:
            self.by_rounds.append(newest.version)
