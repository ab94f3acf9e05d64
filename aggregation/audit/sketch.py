"""Sketches: short random projections in which lengths, distances and inner products survive.

A vector of d values becomes k ≤ 1024. For vectors that were fixed before the seed was drawn, inner
products are unbiased and a squared length errs by a factor of about √(2/k) (Johnson and
Lindenstrauss 1984). Nothing is promised for vectors made by somebody who knew the seed.

The projection is the sparse one of Kane and Nelson, "Sparser Johnson-Lindenstrauss Transforms"
(arXiv 1012.1577), in its block form: the k rows are four groups, and every coordinate goes, with a
random sign, to one row of each. So a coordinate costs four additions instead of k, and the
projection is never held: the rows and signs of a block of coordinates come from a counter-based
generator (Philox, whose raw output numpy keeps stable) keyed by SHA-256 of seed and block number.

The same vector and seed give the same bits on every machine, beside whatever other vectors: the
sums are made one after the other in float64, without a BLAS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aggregation.errors import AggregationError

MOST_ROWS = 1024
"""The longest sketch: what more rows would show, they would also show of the update."""
GROUPS = 4
"""Rows that each coordinate goes to; k is a multiple of it."""
_BLOCK = 1 << 15
"""Coordinates of a block. Part of the definition: another number gives other sketches."""

Vector = NDArray[np.float32]


def sketch(vectors: Sequence[Vector] | NDArray[np.float32], seed: bytes, rows: int) -> Vector:
    """Project ``vectors`` with the projection that ``seed`` names.

    Args:
        vectors: n vectors (d,) float32, finite; memory-mapped ones are read once, block by block.
        seed: public, drawn after the vectors were committed to.
        rows: k, a multiple of 4, at most 1024.

    Returns:
        (n, k) float32.

    Raises:
        AggregationError: ``bad-rows`` for a wrong k, ``bad-updates`` for a wrong shape or type,
            ``not-finite`` when a value is not finite.
    """
    if rows % GROUPS or not GROUPS <= rows <= MOST_ROWS:
        raise AggregationError(
            "bad-rows",
            f"A sketch has a multiple of {GROUPS} rows up to {MOST_ROWS}, got {rows}.",
        )
    size = len(vectors[0]) if len(vectors) else 0
    for vector in vectors:
        if vector.shape != (size,) or vector.dtype != np.float32:
            raise AggregationError(
                "bad-updates",
                f"Sketches are of (d,) float32 with one d, got {vector.dtype} {vector.shape}.",
            )
    sums = np.zeros((len(vectors), rows))
    for number, start in enumerate(range(0, size, _BLOCK)):
        width = min(_BLOCK, size - start)
        targets, signs = _block(seed, number, width, rows)
        for total, vector in zip(sums, vectors, strict=True):
            values = vector[start : start + width].astype(np.float64)
            weights = (signs * values[:, None]).reshape(-1)
            total += np.bincount(targets, weights, rows)
    if not np.isfinite(sums).all() or np.abs(sums).max(initial=0) > np.finfo(np.float32).max:
        raise AggregationError("not-finite", "A sketched vector has values that are not finite.")
    return np.asarray(sums / np.sqrt(GROUPS), np.float32)


def rows_within(
    size: int, updates: int, sketches: int, spots: int = 0, overhead: int = 0, share: float = 0.05
) -> int:
    """Return the most rows with which an audit costs at most ``share`` of forwarding every update.

    Args:
        size: d; an update is 4·d bytes.
        updates: how many updates forwarding would send.
        sketches: how many sketches are sent: of updates, displacements and rehearsal terms.
        spots: how many whole updates are sent as spot checks.
        overhead: bytes of everything else, such as the commitments.

    Returns:
        k, a multiple of 4, at most 1024; 0 when nothing fits.
    """
    left = int(share * 4 * size * updates) - 4 * size * spots - overhead
    most = left // (4 * max(sketches, 1))
    return max(0, min(MOST_ROWS, most) // GROUPS * GROUPS)


def _block(
    seed: bytes, number: int, width: int, rows: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw the rows, (4·width,), and the signs, (width, 4), of a block's coordinates."""
    key = hashlib.sha256(seed + number.to_bytes(8, "little")).digest()
    bits = np.random.Philox(key=np.frombuffer(key[:16], "<u8").astype(np.uint64))
    parts = bits.random_raw(width).astype("<u8").view("<u2").reshape(width, GROUPS).astype(np.int64)
    within = rows // GROUPS
    targets = (((parts >> 1) * within) >> 15) + within * np.arange(GROUPS, dtype=np.int64)
    return targets.reshape(-1), np.asarray(1 - 2 * (parts & 1), np.float64)
