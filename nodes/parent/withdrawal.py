"""Withdraw what one contributor added: compute its rounds again without it, release the rest.

Trimming, mixing and the gate are not linear, so a contribution cannot be subtracted; its rounds are
aggregated again from the updates that the node keeps, with the same pipeline, f and seed. Later
learning on top stays as it is, and so do the steps that the gate chose. A round in which fewer than
2f + 1 updates are left is void, as it would have been then: with a smaller f it would be a single
attacker's. For an erasure request the contributor's updates are deleted afterwards, and the text
that it shared before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from nodes.errors import NodeError
from nodes.parent.combine import combine
from nodes.releases.publish import Made, release
from nodes.state.event_codec import events_of
from nodes.state.events import Aggregated, LedgerEvent, Released, Withdrawn
from nodes.state.fates import WITHDRAWN
from nodes.state.node import Node
from nodes.state.records import ZERO, Seated
from nodes.state.retention import referred
from nodes.state.vectors import Vector, sum_of
from nodes.text.replay_buffer import forget
from protocol import Digest, NodeId, ReleaseKind, Verdict, VerdictKind


@dataclass(frozen=True)
class Withdrawal:
    """The result of a withdrawal.

    Attributes:
        version: the new release.
        recomputed: the versions computed again.
        moved: the norm of the difference.
        deleted: how many stored updates were deleted.
        kept: how many had to stay because the node itself holds the same bytes.
        forgotten: how many shared documents were forgotten.
        beyond: the versions that counted it and cannot be computed again: the updates of their
            rounds are kept no longer.
    """

    version: int
    recomputed: tuple[int, ...]
    moved: float
    deleted: int
    kept: int
    forgotten: int
    beyond: tuple[int, ...] = ()


def withdraw(node: Node, child: NodeId, versions: Collection[int] | None = None) -> Withdrawal:
    """Publish this node's adapter as if ``child`` had never sent it an update.

    A round whose updates are kept no longer ([retention] withdrawal_days) stays as it is.

    Args:
        versions: the releases to compute again; all that counted an update of ``child`` by default,
            and then its updates are deleted and the text that it shared is forgotten.

    Raises:
        NodeError: ``not-a-member`` when no child has that id, ``nothing-to-withdraw`` when nothing
            that stands came from it, ``no-artefact`` when no round that counted it can be
            computed again.
    """
    if node.state.membership.get(child) is None:
        raise NodeError("not-a-member", f"{node.home.scope} has no child {child[:12]}….")

    forgotten = forget(node.home.folder, child) if versions is None else 0

    beyond: list[int] = []

    def build() -> list[LedgerEvent]:
        beyond.clear()
        moved: dict[int, Vector] = {}
        verdicts: list[Verdict] = []
        for version, round_ in _rounds(node).items():
            gone = _gone(node, version)
            chosen = versions is None or version in versions
            if chosen and round_.stands and child in round_.seats.keys() - gone:
                if not _is_kept(node, round_, gone):
                    beyond.append(version)
                    continue
                moved[version] = _without(node, round_, version, child, gone)
                left_out = {child}
                if round_.is_void(gone | {child}) and not round_.is_void(gone):
                    left_out |= set(round_.released.accepted) - gone
                verdicts += [_taken_back(c, round_.seats[c].update) for c in sorted(left_out)]
        if beyond and not moved:
            raise NodeError(
                "no-artefact",
                f"Versions {', '.join(map(str, beyond))} of {node.home.scope} counted updates of "
                f"{child[:12]}…, but the updates of their rounds are kept no longer "
                "([retention] withdrawal_days and max_bytes): they cannot be computed again.",
            )
        if not moved:
            raise NodeError(
                "nothing-to-withdraw",
                f"No release of {node.home.scope} that stands counted an update of {child[:12]}….",
            )
        made = Made(kind=ReleaseKind.WITHDRAWAL, verdicts=verdicts)
        return [
            release(node, sum_of(list(moved.values())), made),
            Withdrawn(
                child=child,
                version=node.state.own.version + 1,
                moved={version: node.keep(vector) for version, vector in moved.items()},
            ),
        ]

    try:
        node.transact(build)
    except NodeError as error:
        if error.code not in {"nothing-to-withdraw", "no-artefact"} or not forgotten:
            raise
        return Withdrawal(node.state.own.version, (), 0.0, 0, 0, forgotten, tuple(beyond))
    deleted, undeletable = _delete(node, child) if versions is None else (0, 0)
    done = node.state.own.withdrawn[-1]
    norm = float(np.linalg.norm(node.vector(node.state.own.published[done.version].moved)))
    recomputed, stay = tuple(done.moved), tuple(beyond)
    return Withdrawal(done.version, recomputed, norm, deleted, undeletable, forgotten, stay)


def _taken_back(child: NodeId, update: Digest) -> Verdict:
    """Make the verdict by which the child learns that its update counts no longer."""
    return Verdict(
        node=child, update=update, verdict=VerdictKind.REFUSED, code=WITHDRAWN, share=0.0
    )


def _delete(node: Node, child: NodeId) -> tuple[int, int]:
    """Delete the stored updates of a child; return how many, and how many had to stay.

    An update stays if its bytes are also needed for something else: another child's update, or a
    vector of the node's own. (Where one update alone made a release, it is the release's
    displacement.)
    """
    own: set[Digest] = set()
    others: set[Digest] = set()
    for round_ in _rounds(node).values():
        for sender, seat in round_.seats.items():
            (own if sender == child else others).add(seat.payload)
    needed = others | referred(node.state)
    stored = {payload for payload in own if node.artefacts.has(payload)}
    for payload in sorted(stored - needed):
        node.artefacts.delete(payload)
    return len(stored - needed), len(stored & needed)


@dataclass(frozen=True)
class _Round:
    """A round that became a release, as the ledger tells it."""

    aggregated: Aggregated
    released: Released
    stands: bool

    @property
    def seats(self) -> Mapping[NodeId, Seated]:
        return self.aggregated.seats

    def is_void(self, gone: set[NodeId]) -> bool:
        """Return whether too few seats are left without these children."""
        return len(self.seats.keys() - gone) < 2 * self.aggregated.f + 1


def _rounds(node: Node) -> dict[int, _Round]:
    """Return every release that a round made, by its version."""
    aggregated: Aggregated | None = None
    rounds: dict[int, _Round] = {}
    for event in events_of(node.ledger, Aggregated, Released):
        match event:
            case Aggregated():
                aggregated = event
            case Released(kind=ReleaseKind.ROUND) if aggregated is not None:
                version = event.held.version
                rounds[version] = _Round(aggregated, event, not node.state.own.is_undone(version))
    return rounds


def _is_kept(node: Node, round_: _Round, gone: set[NodeId]) -> bool:
    """Return whether all that a round is computed again from is still stored."""
    wanted = {seat.payload for child, seat in round_.seats.items() if child not in gone}
    if not gone:
        wanted |= {round_.released.moved, round_.released.rehearsal}
    return all(digest == ZERO or node.artefacts.has(digest) for digest in wanted)


def _gone(node: Node, version: int) -> set[NodeId]:
    """Return the children whose updates were withdrawn from a release before."""
    return {w.child for w in node.state.own.withdrawn if version in w.moved}


def _without(node: Node, round_: _Round, version: int, child: NodeId, gone: set[NodeId]) -> Vector:
    """Compute how the release of a round changes when ``child`` has no seat in it."""
    if gone:
        before: Vector = round_.released.step * _aggregate(node, round_, gone)
    else:
        # The release without its rehearsal: what the node itself rehearsed was nobody's update.
        moved = node.vector(node.state.own.published[version].moved)
        before = sum_of([moved, -node.vector(round_.released.rehearsal)])
    after: Vector = round_.released.step * _aggregate(node, round_, gone | {child})
    return sum_of([after, -before])


def _aggregate(node: Node, round_: _Round, gone: set[NodeId]) -> Vector:
    """Compute the round's aggregate over the seats that are left; zero if they are too few."""
    if round_.is_void(gone):
        return np.zeros(node.size, np.float32)
    seats = {child: seat for child, seat in round_.seats.items() if child not in gone}
    past = round_.aggregated
    _, result = combine(node, seats, past.pipeline, past.f, past.seed)
    return result.vector
