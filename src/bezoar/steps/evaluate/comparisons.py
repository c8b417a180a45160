"""The mean of paired differences with its interval and p-value, for any number of items."""

import math

import numpy as np

from bezoar.steps.evaluate.significance import mean_p_value
from bezoar.steps.evaluate.stats import ROUNDING, Array, Estimate, groups_of, moments, weighted_mean

DRAWS = 10_000  # no p-value is below 2 / DRAWS, so that Holm's can be small enough among some hundred differences
MANY = 500  # clusters from which resampling and the normal distribution say the same (tests/unit/test_compare.py)
NORMAL = 1.959964  # of 95 %


def paired(
    sums: Array, counts: Array, strata: list[str], seed: int, bounds: tuple[float, float]
) -> tuple[Estimate, float | None]:
    """The mean difference and its p-value: by the bootstrap, for many clusters by the normal distribution.

    Args:
        sums: (clusters,), the sum of each cluster's differences.
        counts: (clusters,), their numbers, above 0.
        strata: Stratum of each cluster.
        seed: Seed of the bootstrap.
        bounds: Smallest and largest possible mean.
    """
    means, variances = moments(sums, counts, groups_of(strata))
    mean, error = float(means), float(np.sqrt(variances.sum()))
    if len(sums) < MANY or error <= ROUNDING:
        draws = DRAWS if len(sums) < MANY else DRAWS * MANY // (len(sums) * 10) + 100  # of equal differences
        estimate = weighted_mean(sums, counts, strata, draws, seed, bounds)
        return estimate, mean_p_value(sums, counts, strata, draws, seed, bounds)
    low, high = np.clip([mean - NORMAL * error, mean + NORMAL * error], *bounds)
    return Estimate(mean, float(low), float(high)), math.erfc(abs(mean) / error / math.sqrt(2))
