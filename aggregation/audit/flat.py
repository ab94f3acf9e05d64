"""The flat geometry: how the leaves of all subtrees lie to each other, whoever their parents are.

It sees points only, (m, k) for each subtree: sketches or vectors, where distances have a meaning
and single coordinates have none. It asks two things of every leaf:

- **far**: is it farther than others from the centre of all leaves (their geometric median; Pillutla
  et al., "Robust Aggregation for Federated Learning", arXiv 1912.13445)?
- **astray**: is it farther than others from most of its own subtree?

"Than others" means: on a scale that f bad leaves cannot stretch. It is the shortest length such
that f bad leaves could account for all that lie beyond it. So where more than f are unlike the
rest, that is how honest leaves are here, and nobody is accused of it.

Colluders that are a minority of a subtree are astray. Those that are its majority make the rest
astray. Those that are nearly all of it are far. A subtree with other data than its siblings is far
as well, and is told apart by being far as a whole; see ``verdict``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

_STEPS = 100
_FLOOR = 1e-5
"""Distances below this share of a usual length are rounding, not geometry."""
_TINY = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, eq=False)
class Place:
    """The position of one subtree's m leaves, in units of the two scales.

    Attributes:
        far: (m,) distance from the centre of all leaves.
        astray: (m,) distance within which half of the leaf's own subtree lies.
        radius: the scale of the second, as a distance from a centre: of all subtrees together.
    """

    far: NDArray[np.float64]
    astray: NDArray[np.float64]
    radius: float


def places(subtrees: Sequence[Points], f: int) -> list[Place]:
    """Measure where the leaves of each subtree lie.

    Args:
        subtrees: for each subtree its leaves, (m, k).
        f: how many of all leaves may be arbitrary. Where they are too few for it, the most that
            they can carry is taken.
    """
    everyone = np.concatenate(subtrees)
    n = len(everyone)
    f = min(f, (n - 1) // 2)
    centre = geometric_median(everyone)
    far = [np.linalg.norm(points - centre, axis=1) for points in subtrees]
    astray = [_to_half(points) for points in subtrees]
    floor = max(_FLOOR * float(np.median(np.linalg.norm(everyone, axis=1))), _TINY)
    # A leaf is far because it is bad; one is astray also where half of its subtree is bad.
    far_scale = max(_scale(far, f, [len(points) for points in subtrees]), floor)
    astray_scale = max(_scale(astray, f, [(len(points) + 1) // 2 for points in subtrees]), floor)
    return [
        Place(of_far / far_scale, of_astray / astray_scale, astray_scale / np.sqrt(2))
        for of_far, of_astray in zip(far, astray, strict=True)
    ]


def geometric_median(points: Points) -> NDArray[np.float64]:
    """Find the point with the smallest sum of distances to ``points`` (Weiszfeld, smoothed)."""
    centre: NDArray[np.float64] = np.median(points, axis=0)
    for _ in range(_STEPS):
        distances = np.linalg.norm(points - centre, axis=1)
        floor = 1e-6 * float(np.median(distances))
        if floor <= _TINY:  # most points are the centre
            break
        weights = 1.0 / np.maximum(distances, floor)
        moved = weights @ points / weights.sum()
        if np.linalg.norm(moved - centre) <= floor:
            return np.asarray(moved, np.float64)
        centre = moved
    return centre


def _to_half(points: Points) -> NDArray[np.float64]:
    """Return each point's distance to its ⌊m/2⌋-th nearest other, within which half of them lie."""
    if len(points) < 2:
        return np.zeros(len(points))
    squares = (points**2).sum(1)
    apart = np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))
    np.fill_diagonal(apart, 0)
    return np.asarray(np.sort(apart, axis=1)[:, len(points) // 2], np.float64)


def _scale(values: Sequence[NDArray[np.float64]], f: int, most: Sequence[int]) -> float:
    """Find the smallest value such that f bad leaves can account for all larger ones.

    Args:
        values: one for each leaf, by subtree.
        most: for each subtree how many bad leaves are enough to make all of its values large.
    """
    ordered = np.sort(np.concatenate(values))

    def accounted(i: int) -> bool:
        beyond = [int((lengths > ordered[i]).sum()) for lengths in values]
        return sum(min(b, enough) for b, enough in zip(beyond, most, strict=True)) <= f

    return float(ordered[bisect_left(range(len(ordered)), True, key=accounted)])
