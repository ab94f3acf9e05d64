"""Pre-aggregation steps: clip rows that are too long, mix each row with its neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from aggregation.errors import check_count
from aggregation.points import Points, Table, regrouped


def clip(points: Points, longest: float) -> Points:
    """Shorten rows longer than ``longest`` to it (static clipping)."""
    return _clipped(points, np.sqrt(points.squared_norms(rescaled=False)), longest)


def arc(points: Points, f: int) -> Points:
    """Shorten the longest rows to the next: as many as 2(f/n)(n − f), rounded down.

    Adaptive robust clipping: Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan, "Adaptive Gradient
    Clipping for Robust Federated Learning" (arXiv 2405.14432).
    """
    n = points.count
    norms = np.sqrt(points.squared_norms())
    clipped = 2 * f * (n - f) // n
    return _clipped(points, norms, float(np.sort(norms)[n - clipped - 1]))


def nnm(points: Points, f: int) -> Points:
    """Replace every row by the mean of the n − f rows nearest to it, itself among them.

    Nearest-neighbour mixing: Allouah, Farhadkhani, Guerraoui, Gupta, Pinot, Stephan, "Fixing by
    Mixing" (arXiv 2302.01772). With n < 4f + 1 it is left out: with three rows of which one is
    bad, a zero vector in the mixture would cost half of the signal.
    """
    n = points.count
    if n < 4 * f + 1:
        return points
    apart = points.squared_distances - np.eye(n)  # itself first, before its equals
    nearest = np.sort(np.argsort(apart, axis=1, kind="stable")[:, : n - f], axis=1)
    return regrouped(points, list(nearest), own=True)


def bucketing(points: Points, size: int, f: int, seed: int) -> Points:
    """Average ``size`` rows at a time, drawn at random from ``seed``.

    Karimireddy, He, Jaggi, "Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing"
    (arXiv 2006.09365). The draw must not be known before the updates are in.

    Raises ``AggregationError`` ``too-few-updates`` when there are fewer than 2f + 1 buckets.
    """
    check_count(-(-points.count // size), f, what=f"a rule over buckets of {size}")
    drawn = np.random.default_rng(seed).permutation(points.count)
    buckets = [drawn[start : start + size] for start in range(0, points.count, size)]
    mixed = regrouped(points, buckets, own=False)
    # A coordinate that too few buckets hold does not move: f of them might own it.
    enough = mixed.holds.sum(axis=1, keepdims=True) >= 2 * f + 1
    return replace(mixed, mix=mixed.mix * enough[:, :, None], holds=mixed.holds & enough)


def _clipped(points: Points, norms: Table, longest: float) -> Points:
    return points.scaled(
        np.divide(longest, norms, out=np.ones(points.count), where=norms > longest)
    )
