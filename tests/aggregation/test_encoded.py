"""Updates as they were sent give the same bits as the vectors that they decode to."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from numpy.typing import NDArray

from aggregation import (
    AggregationError,
    EncodedRow,
    Holding,
    Pipeline,
    Updates,
    aggregate,
    diagnose,
)
from aggregation.points import inputs_of

BLOCK = 256
PIPELINES = (
    ("arc", "centred_clipping"),
    ("trimmed_mean",),
    ("median",),
    ("krum",),
    ("nnm", "trimmed_mean"),
    ("bucketing:2", "caf"),
    ("mean",),
    ("bulyan",),
)


def sent(
    rng: np.random.Generator, count: int
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]:
    """Values as they were sent, their scales, and what they decode to."""
    q = rng.integers(-127, 128, count).astype(np.int8)
    scale = rng.uniform(1e-4, 1e-2, -(-count // BLOCK)).astype(np.float32)
    decoded = q.astype(np.float32) * np.repeat(scale, BLOCK)[:count]
    return q, scale, decoded


def both(
    n: int, size: int, held: list[NDArray[np.bool_]], seed: int = 0
) -> tuple[Updates, Updates]:
    """The same updates, encoded and as vectors; the last is float32 as it was sent."""
    rng = np.random.default_rng(seed)
    holdings = [Holding(mask) for mask in held]
    encoded, dense, masks = [], [], []
    for number in range(n):
        holding, factor = holdings[number % len(held)], 1.0 if number % 3 else 0.7071
        q, scale, decoded = sent(rng, int(holding.mask.sum()))
        row = np.zeros(size, np.float32)
        row[holding.mask] = factor * decoded
        plain = number == n - 1
        values = decoded if plain else q
        encoded.append(EncodedRow(values, holding, None if plain else scale, BLOCK, factor))
        dense.append(row)
        masks.append(holding.mask)
    return Updates(encoded, masks), Updates(dense, masks)


def masks_of(size: int, *ranks: int) -> list[NDArray[np.bool_]]:
    return [np.arange(size) % 4 < rank for rank in ranks]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=" ".join)
@pytest.mark.parametrize("ranks", [(4,), (4, 2)], ids=str)
def test_encoded_updates_give_the_same_bits(
    pipeline: tuple[str, ...], ranks: tuple[int, ...]
) -> None:
    size, n, f = 70_001, 14, 2
    encoded, dense = both(n, size, masks_of(size, *ranks))
    of_encoded = aggregate(pipeline, encoded, f, seed=5)
    of_dense = aggregate(pipeline, dense, f, seed=5)
    assert of_encoded.vector.any()
    assert of_encoded.vector.tobytes() == of_dense.vector.tobytes()
    assert of_encoded.weights.tobytes() == of_dense.weights.tobytes()
    first, second = diagnose(encoded, of_encoded, f), diagnose(dense, of_dense, f)
    assert first.distances.tobytes() == second.distances.tobytes()
    assert first.agreement == second.agreement


@pytest.mark.slow
def test_so_many_that_compiled_loops_add_them() -> None:
    size, n, f = 200_000, 45, 10
    encoded, dense = both(n, size, masks_of(size, 4))
    for pipeline in (("arc", "centred_clipping"), ("trimmed_mean",)):
        of_encoded, of_dense = (aggregate(pipeline, u, f, seed=1) for u in (encoded, dense))
        assert of_encoded.vector.tobytes() == of_dense.vector.tobytes()


@pytest.mark.parametrize("ranks", [(4,), (2,), (1,)], ids=str)
def test_every_slice_is_a_part_of_the_whole(ranks: tuple[int, ...]) -> None:
    size = 9_001
    encoded, dense = both(2, size, masks_of(size, *ranks))
    rng = np.random.default_rng(1)
    for row, whole in zip(encoded.rows, dense.rows, strict=True):
        assert row[:].tobytes() == np.asarray(whole).tobytes()
        for _ in range(50):
            start, stop = sorted(rng.integers(0, size + 1, 2))
            assert row[start:stop].tobytes() == np.asarray(whole)[start:stop].tobytes()


def test_what_is_not_finite_is_refused() -> None:
    holding = Holding(np.ones(300, np.bool_))
    q = np.ones(300, np.int8)
    for scale in ([np.nan, 1], [np.inf, 1], [3e38, 1]):
        times = np.array(scale, np.float32)
        huge = EncodedRow(q * np.int8(2), holding, times, BLOCK)
        with pytest.raises(AggregationError, match="infinite"):
            Updates([huge, huge, huge])
    fits = EncodedRow(q, holding, np.array([3e38, 1], np.float32), BLOCK)
    assert Updates([fits]).count == 1


def test_rows_of_another_length_are_refused() -> None:
    row = EncodedRow(np.zeros(3, np.int8), Holding(np.ones(3, np.bool_)), np.ones(1, np.float32), 3)
    with pytest.raises(AggregationError):
        Updates([row, np.zeros(4, np.float32)])
    with pytest.raises(IndexError):
        row[::2]


def test_inputs_are_shared_and_let_go_of_with_their_updates() -> None:
    encoded, _ = both(7, 1000, masks_of(1000, 4))
    inputs = inputs_of(encoded, 2)
    assert inputs_of(encoded, 2) is inputs
    assert inputs_of(encoded, 1) is not inputs
    inputs = inputs_of(encoded, 1)
    row = weakref.ref(inputs)
    Pipeline.parse("krum")(encoded, 1)
    gc.disable()
    try:
        del encoded, inputs
        assert row() is None
    finally:
        gc.enable()
