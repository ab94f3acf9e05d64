"""Rules that weigh rows by their distance from the centre, iteratively."""

from __future__ import annotations

import numpy as np

from aggregation.points import Points, Table

_LEAST = 1e-6
"""A row nearer to the centre than this share of the usual distance weighs no more for it."""
_WEISZFELD_STEPS, _SETTLED = 60, 1e-9
_CLIPPING_STEPS = 10
_TOGETHER = 1e-9


def geometric_median(points: Points, f: int) -> Table:
    """Weigh rows as their geometric median does, the point with the least sum of distances.

    Weiszfeld's iteration (1937), smoothed as by Pillutla, Kakade, Harchaoui, "Robust Aggregation
    for Federated Learning" (arXiv 1912.13445). It ends when no weight changes by more than 1e-9 of
    itself, or after 60 steps, so that nobody can make it take long.

    From the mean of all, a single far row takes hundreds of steps to leave, so it starts from the
    n − f rows that have n − f rows nearest to them. A row that is far from the others in a moving
    coordinate is far from f + 1 honest holders, and so is not among them, however well it agrees in
    the coordinates of low-rank devices.
    """
    good = points.count - f
    reach = np.sqrt(np.sort(points.squared_distances, axis=1)[:, good - 1])
    nearest = np.argsort(reach, kind="stable")[:good]
    usual = float(reach[nearest[-1]])
    weights = np.zeros(points.count)
    weights[nearest] = 1 / good
    if usual == 0:  # a majority is equal, and the median is there
        return weights
    for _ in range(_WEISZFELD_STEPS):
        far = np.sqrt(points.squared_deviations(weights))
        nearer = 1 / np.maximum(far, _LEAST * usual)
        nearer /= nearer.sum()
        settled = bool((np.abs(nearer - weights) <= _SETTLED * nearer).all())
        weights = nearer
        if settled:
            break
    return weights


def centred_clipping(points: Points, f: int) -> Table:
    """Start at the geometric median and step ten times by the mean of the clipped differences.

    Karimireddy, He, Jaggi, "Learning from History for Byzantine Robust Optimization" (arXiv
    2012.10333). There the start is the last round's outcome and the radius a constant; here nothing
    is remembered, so both come from the rows: the geometric median, and the median distance to it.
    """
    m = points.count
    weights = geometric_median(points, f)
    weights /= weights.sum()
    radius = float(np.median(np.sqrt(points.squared_deviations(weights))))
    for _ in range(_CLIPPING_STEPS):
        far = np.sqrt(points.squared_deviations(weights))
        factors = np.divide(radius, far, out=np.ones(m), where=far > radius)
        weights = (1 - factors.mean()) * weights + factors / m
    return weights


def covariance_filter(points: Points, f: int) -> Table:
    """Take weight from the rows that spread most in the direction of the largest variance.

    The covariance filter CAF of Allouah, Guerraoui, Stephan, "Towards Trustworthy Federated
    Learning with Untrusted Participants" (arXiv 2505.01874). The direction is an exact eigenvector,
    and every step takes at least one row's whole weight, so it ends after n steps whatever is sent.
    """
    m = points.count
    weights = best = np.ones(m)
    if f == 0:
        return best
    smallest = np.inf
    for _ in range(m):
        around = points.deviations(weights)
        roots = np.sqrt(weights / weights.sum())
        spreads, directions = np.linalg.eigh(around * roots[:, None] * roots[None, :])
        spread, direction = float(spreads[-1]), directions[:, -1]
        if spread <= 0:
            return weights
        if spread < smallest:
            smallest, best = spread, weights
        along = (around @ (roots * direction)) ** 2
        most = along[weights > 0].max()
        if most <= 0:
            return best
        # Equal rows leave together: what is as far out as the farthest, but for rounding, goes too.
        weights = weights * np.where(along < (1 - _TOGETHER) * most, 1 - along / most, 0)
        if weights.sum() <= m - 2 * f:
            break
    return best
