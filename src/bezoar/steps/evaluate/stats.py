"""Means with intervals, for benchmarks with questions in fixed categories."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]
FEWEST = 6  # questions per stratum from which resampling beats Student's t (tests/unit/test_stats.py)
ROUNDING = 1e-9  # a standard error below it counts as 0


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; an end is None if nothing bounds it: one question, or equal scores."""

    mean: float
    low: float | None
    high: float | None


def stratified_mean(
    cells: Array, strata: list[str], draws: int, seed: int, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """The mean of all cells, with an interval for other questions of the same categories.

    Resampling keeps a question's turns together, since they are not independent, and the number of questions of each
    stratum, since a benchmark's categories are fixed. To compare two models, pass the difference of their cells. The
    interval is a bootstrap-t: with ten questions per category, a percentile bootstrap covers the truth in only 88 to
    94 % of cases. Strata of few questions can't be resampled: then it is Student's t with Satterthwaite's degrees of
    freedom. Equal or nearly equal scores say nothing about the spread of others: then the scale bounds the mean.

    Args:
        cells: (questions, turns); NaN for a missing score. Questions without any score don't count.
        strata: Category of each question.
        draws: Bootstrap draws.
        seed: Seed of the draws.
        bounds: Smallest and largest possible score.

    Raises:
        ValueError: No cell has a score.

    Source: Miller 2024 (arXiv:2411.00640), section 2.2, on clustered questions; Efron and Tibshirani 1993, section
        12.5, on the bootstrap-t; Learned-Miller and Thomas 2019 (arXiv:1905.06208) on the bound by the scale.
    """
    return weighted_mean(*sums_and_counts(cells, strata), draws, seed, bounds)


def sums_and_counts(cells: Array, strata: list[str]) -> tuple[Array, Array, list[str]]:
    """Sum and number of the scores of each question that has one, and its stratum; ValueError if none has."""
    there = ~np.isnan(cells).all(axis=1)
    if not there.any():
        raise ValueError("no score to average")
    sums, counts = np.nansum(cells[there], axis=1), (~np.isnan(cells[there])).sum(axis=1)
    return sums, counts, [strata[place] for place in np.flatnonzero(there)]


def weighted_mean(
    sums: Array,
    counts: Array,
    strata: list[str],
    draws: int,
    seed: int,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """The mean of all scores of clusters, with an interval for other clusters; as `stratified_mean`.

    Args:
        sums: (clusters,), the sum of each cluster's scores.
        counts: (clusters,), their numbers, above 0.
        strata: Stratum of each cluster.
        draws: Bootstrap draws.
        seed: Seed of the draws.
        bounds: Smallest and largest possible mean.
    """
    groups = groups_of(strata)
    means, variances = moments(sums, counts, groups)
    mean, error = float(means), max(ROUNDING, float(np.sqrt(variances.sum())))
    if len(sums) == 1:
        return Estimate(mean, None, None)
    if error == ROUNDING:
        lowest, highest = -np.inf, np.inf
    elif min(map(len, groups)) < FEWEST:
        freedom = error**4 / sum(v**2 / (len(one) - 1) for v, one in zip(variances, groups, strict=True))
        lowest, highest = stdtrit(freedom, [0.025, 0.975])
    else:
        pivots = studentised(sums, counts, groups, draws, seed)
        lowest = np.percentile(
            pivots, 2.5, method="lower"
        )  # no interpolation between two draws, since one may be infinite
        highest = np.percentile(pivots, 97.5, method="higher")
    ends = [mean - highest * error, mean - lowest * error]
    for side in (0, 1):
        if np.isinf(ends[side]):
            ends[side] = mean + _furthest(sums, counts, groups, bounds[side] - mean, draws, seed)
    low, high = (float(end) if np.isfinite(end) else None for end in np.clip(ends, *bounds))
    return Estimate(mean, low, high)


def groups_of(strata: list[str]) -> list[NDArray[np.intp]]:
    """Places of each stratum's questions; strata of one question have no spread and are merged."""
    names = np.array(strata)
    groups = [np.flatnonzero(names == name) for name in sorted(set(strata))]
    single = [one for one in groups if len(one) == 1]
    several = [one for one in groups if len(one) > 1]
    if len(single) == 1 and several:
        single.append(several.pop(min(range(len(several)), key=lambda place: len(several[place]))))
    return [*several, *([np.concatenate(single)] if single else [])]


def moments(sums: Array, counts: Array, groups: list[NDArray[np.intp]]) -> tuple[Array, Array]:
    """The mean (...) and each stratum's part of its variance (..., strata), from sums and counts (..., questions)."""
    total = counts.sum(axis=-1)
    mean = sums.sum(axis=-1) / total
    distances = sums - mean[..., None] * counts  # the variance of a ratio with varying counts
    parts = [len(one) * distances[..., one].var(axis=-1, ddof=min(1, len(one) - 1)) for one in groups]
    return mean, np.stack(parts, axis=-1) / total[..., None] ** 2


def studentised(sums: Array, counts: Array, groups: list[NDArray[np.intp]], draws: int, seed: int) -> Array:
    """Distances of resampled means from the mean, each in its own standard errors; may be infinite."""
    generator = np.random.default_rng(seed)
    drawn = np.concatenate([one[generator.integers(0, len(one), size=(draws, len(one)))] for one in groups], axis=1)
    ends = np.cumsum([len(one) for one in groups])
    places = [np.arange(end - len(one), end) for end, one in zip(ends, groups, strict=True)]
    means, variances = moments(sums[drawn], counts[drawn], places)
    errors = np.sqrt(variances.sum(axis=-1))
    distances = means - sums.sum() / counts.sum()
    infinite = np.where(np.isclose(distances, 0), 0.0, np.copysign(np.inf, distances))  # samples without a spread
    return np.divide(distances, errors, out=infinite, where=errors > ROUNDING)


def _furthest(sums: Array, counts: Array, groups: list[NDArray[np.intp]], end: float, draws: int, seed: int) -> float:
    """How far the true mean may be from the observed one: draws weights for all questions and for one at `end`.

    For n equal scores this is the rule of three: a score that none of them has may have a share of 3.7 / n.

    Args:
        end: Distance of the scale's end from the mean.
    """
    if not np.isfinite(end):
        return end
    found = dirichlet_distances(sums, counts, groups, end, draws, seed)
    return float(np.percentile(found, 97.5 if end > 0 else 2.5))


def dirichlet_distances(
    sums: Array, counts: Array, groups: list[NDArray[np.intp]], end: float, draws: int, seed: int
) -> Array:
    """Distances (draws,) of means from the observed one, with drawn weights for all questions and for one at `end`."""
    distances = np.empty(len(sums) + 1)
    for one in groups:
        distances[:-1][one] = sums[one] - counts[one] * sums[one].sum() / counts[one].sum()
    distances[:-1] *= len(sums) / counts.sum()
    distances[-1] = end
    found: Array = np.random.default_rng(seed).dirichlet(np.ones(len(distances)), size=draws) @ distances
    return found
