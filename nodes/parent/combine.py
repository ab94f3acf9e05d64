"""Combine the seats of a round into one vector, for settlement and withdrawal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from aggregation import Aggregate, EncodedRow, Holding, Updates, aggregate, diagnose, replay
from nodes.state.events import Aggregated
from nodes.state.node import Node
from nodes.state.records import Seated
from nodes.state.vectors import Vector
from protocol import (
    BLOCK,
    LIMITS,
    Digest,
    EncodedDelta,
    NodeId,
    PayloadFormat,
    Verdict,
    VerdictKind,
    read_delta,
)

log = structlog.get_logger()

Seats = Mapping[NodeId, Seated]
Deltas = Mapping[Digest, EncodedDelta]
"""Payloads that were read, by the digest of their update: (d_r,), as sent."""


@dataclass(frozen=True)
class Collected:
    """The updates of one round.

    Attributes:
        seated: the updates that have a seat. ``standing``: what stands in for absent children.
        deltas: payloads that are still in memory from admission.
        f: how many of the updates may be malicious.
    """

    round: int
    seated: Seats
    standing: Seats
    deltas: Deltas
    f: int

    @property
    def seats(self) -> dict[NodeId, Seated]:
        """Every update that takes part, stand-ins included."""
        return {**self.seated, **self.standing}


class Combiner(Protocol):
    """The interface of what makes one vector of a round's updates."""

    def combine(self, collected: Collected) -> tuple[Vector, list[Verdict]]:
        """Compute the aggregate, (d,) float32, and a verdict on each update that took part.

        Raises ``AggregationError`` or ``NodeError`` when nothing can be made of it.
        """
        ...


class RobustCombiner:
    """A combiner by a pipeline of robust rules; it records the inputs of the aggregation."""

    def __init__(self, node: Node, pipeline: Sequence[str]) -> None:
        self._node, self._pipeline = node, tuple(pipeline)

    def combine(self, collected: Collected) -> tuple[Vector, list[Verdict]]:
        """Aggregate robustly; staleness and fading scale the vectors."""
        node, seats, f = self._node, collected.seats, collected.f
        seed = node.randomness.bits(63)  # for bucketing: drawn when the updates are in
        updates, result = combine(node, seats, self._pipeline, f, seed, collected.deltas)
        diagnosis = diagnose(updates, result, f)
        measured = {
            "weight": result.weights,
            "clipped": result.clipped,
            "norm": diagnosis.norms,
            "distance": diagnosis.distances,
            "cosine": diagnosis.cosines,
        }
        node.record(
            Aggregated(
                round=collected.round,
                f=f,
                seed=seed,
                pipeline=self._pipeline,
                seats=seats,
                applied=tuple(result.applied),
                moved=result.moved,
                updates={
                    child: {name: float(values[row]) for name, values in measured.items()}
                    for row, child in enumerate(seats)
                },
                agreement=diagnosis.agreement,
            )
        )
        rows = zip(seats.items(), result.weights, diagnosis.far(), strict=True)
        verdicts = [
            _stood_in(child, seat, float(weight), len(seats))
            if child in collected.standing
            else _verdict(child, seat, float(weight), len(seats), bool(far))
            for (child, seat), weight, far in rows
        ]
        return result.vector, verdicts


def combine(
    node: Node,
    seats: Seats,
    pipeline: Sequence[str],
    f: int,
    seed: int,
    deltas: Deltas | None = None,
) -> tuple[Updates, Aggregate]:
    """Aggregate the seats of a round; staleness and fading scale the vectors.

    Raises:
        AggregationError: what the pipeline raises.
        ArtefactError: ``missing-artefact`` when an update is neither in ``deltas`` nor stored.
    """
    rows, masks = rows_of(node, seats, deltas or {})
    updates = Updates(rows, masks)
    return updates, aggregate(pipeline, updates, f, seed)


def rows_of(
    node: Node, seats: Seats, deltas: Deltas
) -> tuple[list[EncodedRow], list[NDArray[np.bool_]]]:
    """Load the seated updates of a round, (d,) each, encoded and scaled, with each one's mask.

    Raises ``ArtefactError`` ``missing-artefact`` when an update is neither in ``deltas`` nor
    stored.
    """
    layout = node.home.layout
    held = {rank: Holding(layout.mask_at(rank)) for rank in {s.mask_rank for s in seats.values()}}
    rows: list[EncodedRow] = []
    masks: list[NDArray[np.bool_]] = []
    for seat in seats.values():
        delta = deltas.get(seat.update)
        if delta is None:  # after a restart, or long after the round
            payload, form = node.artefacts.get(seat.payload), PayloadFormat(seat.payload_format)
            delta = read_delta(payload, layout.size_at(seat.mask_rank), form, LIMITS)
        holding = held[seat.mask_rank]
        rows.append(EncodedRow(delta.values, holding, delta.scale, BLOCK, seat.scale))
        masks.append(holding.mask)
    return rows, masks


def stand_ins(node: Node, absent: Collection[NodeId]) -> dict[NodeId, Seated]:
    """Choose stand-ins for the children of whom nothing was heard.

    The stand-in is the last accepted update of the child, fading: ½, ¼, … of it, so that it never
    adds up to more than once again. A child that is quarantined or no member any more gets none.
    """
    rounds, members = node.state.rounds, set(node.state.membership.active)
    stood = {
        child: standing.stood
        for child, standing in rounds.stand_ins.items()
        if child in absent and child in members
    }
    barred = [child for child in stood if rounds.is_quarantined(child)]
    faded: dict[NodeId, Seated] = {}
    for child, factor in replay.stand_ins(stood, barred).items():
        seat = rounds.stand_ins[child].seat
        faded[child] = replace(seat, scale=seat.scale * factor)
    return faded


def _verdict(child: NodeId, seat: Seated, weight: float, seats: int, far: bool) -> Verdict:
    """Give the verdict on one update.

    An update is outvoted when it weighs less than half of what each would if all counted alike.
    That is an offence only if it also lies far from the outcome: a rule like Krum leaves out honest
    ones too.
    """
    outvoted = weight < 0.5
    code = ("outvoted" if far else "not-chosen") if outvoted else ""
    if outvoted:
        log.warning("update-outvoted", child=child[:12], code=code, weight=round(weight, 3))
    return Verdict(
        node=child,
        update=seat.update,
        verdict=VerdictKind.OUTVOTED if outvoted else VerdictKind.ACCEPTED,
        code=code,
        share=min(weight / seats, 1.0),
    )


def _stood_in(child: NodeId, seat: Seated, weight: float, seats: int) -> Verdict:
    return Verdict(
        node=child,
        update=seat.update,
        verdict=VerdictKind.STAND_IN,
        code="",
        share=min(weight / seats, 1.0),
    )
