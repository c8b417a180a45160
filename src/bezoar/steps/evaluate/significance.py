"""Whether a paired difference is more than chance, and which of several are (Holm 1979)."""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtr

from bezoar.steps.evaluate.stats import (
    FEWEST,
    ROUNDING,
    Array,
    dirichlet_distances,
    groups_of,
    moments,
    studentised,
    sums_and_counts,
)

LEVEL = 0.05  # of a whole report: the chance that any difference is flagged where none exists
TAIL = 0.025  # of an interval of 95 %


def p_value(
    cells: Array, strata: list[str], draws: int, seed: int, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> float | None:
    """The chance of a mean as far from 0, in either direction, if the true one is 0; it agrees with `stratified_mean`.

    A difference whose 95 % interval excludes 0 has a p-value below 0.05, since both count the same bootstrap draws.

    Args:
        cells: (questions, turns), the differences of two models; NaN for a missing score.
        strata: Category of each question.
        draws: Bootstrap draws: no p-value is below 2 / (draws + 1).
        seed: Seed of the draws.
        bounds: Smallest and largest possible difference.

    Returns:
        None if nothing bounds the chance: one question, or equal differences without bounds.
    """
    return mean_p_value(*sums_and_counts(cells, strata), draws, seed, bounds)


def mean_p_value(
    sums: Array,
    counts: Array,
    strata: list[str],
    draws: int,
    seed: int,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> float | None:
    """As `p_value`, from the sums of clusters, as `weighted_mean`."""
    groups = groups_of(strata)
    means, variances = moments(sums, counts, groups)
    mean, error = float(means), max(ROUNDING, float(np.sqrt(variances.sum())))
    if abs(mean) <= ROUNDING:
        return 1.0
    if len(sums) == 1:
        return None
    if error > ROUNDING and min(map(len, groups)) < FEWEST:
        freedom = error**4 / sum(v**2 / (len(one) - 1) for v, one in zip(variances, groups, strict=True))
        return float(2 * stdtr(freedom, -abs(mean) / error))
    if error > ROUNDING:
        pivots = studentised(sums, counts, groups, draws, seed) * np.sign(mean)
        if np.isinf(pivots[pivots > 0]).sum() <= TAIL * draws:
            return _twice((pivots >= abs(mean) / error).sum(), draws)
    end = bounds[0] if mean > 0 else bounds[1]  # resampling can't find this side's end: the scale bounds it
    if not np.isfinite(end):
        return None
    beyond = dirichlet_distances(sums, counts, groups, end - mean, draws, seed) + mean
    return _twice((beyond * np.sign(mean) <= 0).sum(), draws)


def _twice(count: int, draws: int) -> float:
    """A two-sided p-value, from how many draws are beyond; never 0 (Davison and Hinkley 1997, section 4.2)."""
    return min(1.0, 2 * (int(count) + 1) / (draws + 1))


def holm(p_values: list[float | None]) -> list[float | None]:
    """Holm's adjusted p-values: those below 0.05 stay significant among all of them. None stays None, and counts."""
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(p_values) - rank)))
        adjusted[place] = largest
    return adjusted


def separability(intervals: Sequence[tuple[float | None, float | None]]) -> float | None:
    """Share of pairs of models whose intervals don't overlap (Li et al. 2024, arXiv:2406.11939); None for one model.

    An interval without an end is endless.
    """
    ends = [(-np.inf if low is None else low, np.inf if high is None else high) for low, high in intervals]
    apart = [a[1] < b[0] or b[1] < a[0] for place, a in enumerate(ends) for b in ends[:place]]
    return float(np.mean(apart)) if apart else None


def within_item_spread(repeats: list[list[float]]) -> float | None:
    """The standard deviation of repeated scores of one item, pooled over all items; None if none was repeated.

    Args:
        repeats: The scores of each item.
    """
    several = [np.array(scores) for scores in repeats if len(scores) > 1]
    freedom = sum(len(scores) - 1 for scores in several)
    if not freedom:
        return None
    squares = sum(float(((scores - scores.mean()) ** 2).sum()) for scores in several)
    return float(np.sqrt(squares / freedom))
