"""From the seats of a round to one vector: what settlement and withdrawal both compute."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aggregation import Aggregate, Updates, aggregate, replay
from nodes.state.node import Node
from nodes.state.records import Seated
from nodes.state.vectors import Vector
from protocol import LIMITS, NodeId, PayloadFormat, decode_delta

Seats = Mapping[NodeId, Seated]


def combine(
    node: Node, seats: Seats, pipeline: Sequence[str], f: int, seed: int
) -> tuple[Updates, Aggregate]:
    """Aggregate what sits in a round; staleness and fading scale the vectors.

    Raises:
        AggregationError: what the pipeline raises.
        ArtefactError: ``missing-artefact`` when an update is not in the store.
    """
    rows, masks = rows_of(node, seats)
    updates = Updates(rows, masks)
    return updates, aggregate(pipeline, updates, f, seed)


def rows_of(node: Node, seats: Seats) -> tuple[list[Vector], list[NDArray[np.bool_]]]:
    """What sits in a round, (d,) float32 each and scaled, and which coordinates each holds.

    Raises ``ArtefactError`` ``missing-artefact`` when an update is not in the store.
    """
    layout = node.home.layout
    mask_of = {seat.mask_rank: layout.mask_at(seat.mask_rank) for seat in seats.values()}
    rows: list[Vector] = []
    masks: list[NDArray[np.bool_]] = []
    for seat in seats.values():
        mask = mask_of[seat.mask_rank]
        payload, form = node.artefacts.get(seat.payload), PayloadFormat(seat.payload_format)
        row = np.zeros(layout.size, np.float32)
        row[mask] = seat.scale * decode_delta(payload, int(mask.sum()), form, LIMITS)
        rows.append(row)
        masks.append(mask)
    return rows, masks


def stand_ins(node: Node, absent: Collection[NodeId]) -> dict[NodeId, Seated]:
    """What sits in the chairs of children of whom nothing was heard.

    The last accepted update of each, fading: ½, ¼, … of it, so that it never adds up to more than
    once again. Nobody stands in for a child that is quarantined or no member any more.
    """
    state, members = node.state, set(node.state.membership.active)
    stood = {c: held.stood for c, held in state.stand_ins.items() if c in absent and c in members}
    barred = [child for child in stood if state.is_quarantined(child)]
    return {
        child: replace(seat, scale=seat.scale * factor)
        for child, factor in replay.stand_ins(stood, barred).items()
        for seat in [state.stand_ins[child].seat]
    }


def told(seats: Seats) -> dict[str, dict[str, Any]]:
    """Seats as the ledger keeps them."""
    return {child: asdict(seat) for child, seat in seats.items()}


def seats_of(aggregated: Mapping[str, Any]) -> dict[NodeId, Seated]:
    """The seats of an ``aggregated`` event."""
    return {NodeId(child): Seated(**seat) for child, seat in aggregated["seats"].items()}
