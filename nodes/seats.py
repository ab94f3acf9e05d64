"""From the seats of a round to one vector: what settlement and withdrawal both compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from aggregation import Aggregate, Updates, aggregate
from nodes.node import Node
from nodes.state import Seated
from protocol import LIMITS, NodeId, PayloadFormat, decode_delta

Seats = Mapping[NodeId, Seated]


def combine(
    node: Node, seats: Seats, pipeline: Sequence[str], f: int, seed: int
) -> tuple[Updates, Aggregate]:
    """Aggregate what sits in a round; staleness and fading scale the vectors.

    Raises:
        AggregationError: what the pipeline raises.
        ArtefactError: ``no-artefact`` when an update is not in the store.
    """
    layout = node.home.layout
    mask_of = {seat.mask_rank: layout.mask_at(seat.mask_rank) for seat in seats.values()}
    rows, masks = [], []
    for seat in seats.values():
        mask = mask_of[seat.mask_rank]
        payload, form = node.artefacts.get(seat.payload), PayloadFormat(seat.payload_format)
        row = np.zeros(layout.size, np.float32)
        row[mask] = seat.scale * decode_delta(payload, int(mask.sum()), form, LIMITS)
        rows.append(row)
        masks.append(mask)
    updates = Updates(rows, masks)
    return updates, aggregate(pipeline, updates, f, seed)


def told(seats: Seats) -> dict[str, dict[str, Any]]:
    """Seats as the ledger keeps them."""
    return {child: asdict(seat) for child, seat in seats.items()}


def seats_of(aggregated: Mapping[str, Any]) -> dict[NodeId, Seated]:
    """The seats of an ``aggregated`` event."""
    return {NodeId(child): Seated(**seat) for child, seat in aggregated["seats"].items()}
