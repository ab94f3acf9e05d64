"""Evidence that a mean is above zero, as an e-value: the wealth of a gambler who bets on it.

The gambler starts with 1, bets a share λ of it on every probe and holds Π (1 + λ·gain). When the
mean gain is at most zero, no bet makes money on average: the wealth has an expectation of at most
1, so that it reaches 1/α with a probability of at most α, whenever one looks (Ville's inequality;
Waudby-Smith and Ramdas, arXiv 2010.09686). Four stakes are bet side by side and their wealth is
added up, so that nobody chooses λ after seeing the gains.

That is exact for independent gains of which none lies below -1/λ. What lies below is ruin for that
stake, which is not enough: against a tail that the probes did not show, nobody can bet. The largest
stake is 1/bound, with a bound of 2.5 standard deviations of the gains, and correlation between
probes is allowed for. ``docs/gate.md`` has the false rates for skewed, heavy-tailed and correlated
gains, and where they end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STAKES = ((1.0, 1 / 2), (1 / 2, 1 / 4), (1 / 4, 1 / 8), (1 / 8, 1 / 8))
"""Each as a multiple of 1/bound, with its part of the first wealth.

Gains too small for the last are too small to be seen in a few thousand probes.
"""

SPREAD = 2.5
"""Standard deviations of the gains in the bound: beyond lies a 160th of a normal distribution."""

PRIOR = 0.5
"""Imaginary probes without any gain that count for the standard deviation.

They keep few probes from looking surer than they are: two that gain the same have no spread.
"""

MOST = 300.0
"""log10 of an e-value stays within ±300: figures are kept as JSON and compared with levels."""


def log10_e(
    gains: Array, least_bound: float, correlation: float = 0.0, weights: Array | None = None
) -> Array:
    """Compute log10 of the e-value against "the weighted mean gain is at most zero".

    Args:
        gains: (..., k) float64, finite, in nats; one test for each leading index.
        least_bound: in nats, above zero. No stake is ruined by a single loss smaller than this.
        correlation: ρ, what two probes may be correlated by on average. The variance of a mean of k
            is then 1 + (k - 1)ρ times what it seems, and the e-value is raised to the inverse of
            that power. (A power below 1 of an e-value is an e-value.)
        weights: (k,) with a mean of 1; equal if not given. With strata, the count of a stratum
            times its weight must be the same for all; the mean is then that of the strata's means.

    Returns:
        (...) float64 within ±``MOST``.
    """
    k = gains.shape[-1]
    bets = gains if weights is None else gains * weights
    bound = _bound(bets, least_bound)[..., None]
    wealth = np.empty((len(STAKES), *bets.shape[:-1]))
    for j, (stake, part) in enumerate(STAKES):
        with np.errstate(divide="ignore"):
            wealth[j] = np.log(np.maximum(1 + stake / bound * bets, 0)).sum(-1) + np.log(part)
    log_wealth = np.logaddexp.reduce(wealth, axis=0) / (1 + (k - 1) * correlation)
    clipped: Array = np.clip(log_wealth / np.log(10), -MOST, MOST)
    return clipped


def _bound(bets: Array, least: float) -> Array:
    """Return (...): ``SPREAD`` standard deviations of (..., k) bets, at least ``least``."""
    k, mean = bets.shape[-1], bets.mean(-1, keepdims=True)
    squares = ((bets - mean) ** 2).sum(-1) + mean[..., 0] ** 2 * k * PRIOR / (k + PRIOR)
    bound: Array = np.maximum(least, SPREAD * np.sqrt(squares / (k - 1 + PRIOR)))
    return bound
