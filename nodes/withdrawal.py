"""Withdrawing what one contributor added: compute its rounds again without it, release the rest.

Trimming, mixing and the gate are not linear, so a contribution cannot be subtracted; its rounds are
aggregated again from the updates that the node keeps, with the same pipeline, f and seed. What was
learned later on top stays as it is, and so do the steps that the gate chose. For an erasure request
the contributor's updates are deleted afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nodes.chain import sum_of
from nodes.errors import NodeError
from nodes.node import Entries, Node, Vector
from nodes.releases import Made, release
from nodes.seats import combine, seats_of
from nodes.state import Seated
from protocol import Digest, NodeId, ReleaseKind


@dataclass(frozen=True)
class Withdrawal:
    """What a withdrawal did: the new version, the versions computed again, how far it moved."""

    version: int
    recomputed: tuple[int, ...]
    moved: float
    deleted: int


def withdraw(node: Node, child: NodeId) -> Withdrawal:
    """Publish this node's adapter as if ``child`` had never sent it an update.

    Raises:
        NodeError: ``not-a-member`` when no child has that id, ``nothing-to-withdraw`` when nothing
            that stands came from it, ``no-artefact`` when an update of the round is gone.
    """
    if child not in node.state.members:
        raise NodeError("not-a-member", f"{node.home.scope} has no child {child[:12]}….")
    found: list[Withdrawal] = []

    def build() -> Entries:
        displacement = np.zeros(node.size, np.float32)
        recomputed: list[int] = []
        payloads: set[str] = set()
        for version, round_ in _rounds(node).items():
            if child not in round_.seats:
                continue
            payloads.add(round_.seats[child].payload)
            if node.state.withdrawn.get(child, 0) >= version or not round_.stands:
                continue
            displacement += _without(node, round_, version, child)
            recomputed.append(version)
        if not recomputed:
            raise NodeError(
                "nothing-to-withdraw",
                f"No release of {node.home.scope} that stands counted an update of {child[:12]}….",
            )
        body = release(node, displacement, Made(kind=ReleaseKind.WITHDRAWAL))
        version = node.state.version + 1
        found[:] = [Withdrawal(version, tuple(recomputed), float(np.linalg.norm(displacement)), 0)]
        deleted = sorted(payloads - _payloads_of_others(node, child))
        done = {"child": child, "version": version, "recomputed": recomputed, "deleted": deleted}
        return [("released", body), ("withdrawn", done)]

    entries = node.transact(build)
    deleted = entries[-1][1]["deleted"]
    for payload in deleted:
        node.artefacts.delete(payload)
    outcome = found[0]
    return Withdrawal(outcome.version, outcome.recomputed, outcome.moved, len(deleted))


@dataclass(frozen=True)
class _Round:
    """A round that became a release, as the ledger tells it."""

    aggregated: Mapping[str, Any]
    seats: Mapping[NodeId, Seated]
    step: float
    rehearsal: Digest
    stands: bool


def _rounds(node: Node) -> dict[int, _Round]:
    """Every release that a round made, by its version."""
    aggregated: Mapping[str, Any] = {}
    rounds: dict[int, _Round] = {}
    undone = node.state.undone
    for event in node.ledger.events(["aggregated", "released"]):
        if event.kind == "aggregated":
            aggregated = event.body
        elif event.body["kind"] == ReleaseKind.ROUND:
            version, body = event.body["held"]["version"], event.body
            stands = not any(after < version <= until for after, until in undone)
            seats = seats_of(aggregated)
            rounds[version] = _Round(aggregated, seats, body["step"], body["rehearsal"], stands)
    return rounds


def _without(node: Node, round_: _Round, version: int, child: NodeId) -> Vector:
    """How the release of a round changes when ``child`` has no seat in it."""
    gone = {c for c, upto in node.state.withdrawn.items() if version <= upto}
    if gone & round_.seats.keys():
        before: Vector = round_.step * _aggregate(node, round_, gone)
    else:
        # As it was released: what the node itself rehearsed was nobody's update.
        moved = node.vector(node.state.published[version].moved)
        before = sum_of([moved, -node.vector(round_.rehearsal)])
    after: Vector = round_.step * _aggregate(node, round_, gone | {child})
    return sum_of([after, -before])


def _aggregate(node: Node, round_: _Round, gone: set[NodeId]) -> Vector:
    """The round's aggregate over the seats that are left; zero if there is none."""
    seats = {child: seat for child, seat in round_.seats.items() if child not in gone}
    if not seats:
        return np.zeros(node.size, np.float32)
    told = round_.aggregated
    f = min(int(told["f"]), (len(seats) - 1) // 2)
    return combine(node, seats, tuple(told["pipeline"]), f, int(told["seed"]))[1].vector


def _payloads_of_others(node: Node, child: NodeId) -> set[str]:
    """Payloads that somebody else's seat names too: two children may send the same bytes."""
    return {
        seat.payload
        for round_ in _rounds(node).values()
        for other, seat in round_.seats.items()
        if other != child
    }
