"""Means with their uncertainty, where a benchmark draws its questions within fixed categories."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Array = NDArray[np.float64]
FEWEST = 6  # questions of a stratum from which on resampling it says more than Student's t (tests/unit/test_stats.py)


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval; None where there is but one question."""

    mean: float
    low: float | None
    high: float | None


def stratified_mean(
    cells: Array, strata: list[str], draws: int, seed: int, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> Estimate:
    """Mean of all cells, with an interval for other questions of the same categories.

    A question's turns move together, since they are not independent, and each stratum keeps its number of questions,
    since the categories of a benchmark are fixed. To compare two models, pass the difference of their cells. The
    interval is a bootstrap-t: with ten questions a category, a percentile bootstrap holds the truth in 88 to 94 % of
    cases only. Strata of few questions can't be resampled: then it is Student's t with Satterthwaite's degrees of
    freedom.

    Args:
        cells: (questions, turns); NaN where a score is missing. A question without any score counts nothing.
        strata: Category of each question.
        draws: Bootstrap draws.
        seed: Seed of the draws.
        bounds: What the mean can be at least and at most.

    Raises:
        ValueError: No cell holds a score.

    Source: Miller 2024 (arXiv:2411.00640), section 2.2, on clustered questions; Efron and Tibshirani 1993, section
        12.5, on the bootstrap-t.
    """
    there = ~np.isnan(cells).all(axis=1)
    if not there.any():
        raise ValueError("no score to average")
    sums, counts = np.nansum(cells[there], axis=1), (~np.isnan(cells[there])).sum(axis=1)
    groups = _groups(np.array(strata)[there])
    mean, variances = _moments(sums, counts, groups)
    if len(sums) == 1:
        return Estimate(float(mean), None, None)
    variance = variances.sum()
    if variance == 0:
        return Estimate(float(mean), float(mean), float(mean))
    if min(map(len, groups)) < FEWEST:
        freedom = variance**2 / sum(v**2 / (len(one) - 1) for v, one in zip(variances, groups, strict=True))
        lowest, highest = stdtrit(freedom, [0.025, 0.975])
    else:
        lowest, highest = np.percentile(_studentised(sums, counts, groups, draws, seed), [2.5, 97.5])
    ends = mean - np.array([highest, lowest]) * np.sqrt(variance)
    return Estimate(float(mean), *map(float, np.clip(ends, *bounds)))


def _groups(strata: NDArray[np.str_]) -> list[NDArray[np.intp]]:
    """Places of each stratum's questions; strata of one question, which say nothing of their spread, taken together."""
    groups = [np.flatnonzero(strata == name) for name in sorted(set(strata))]
    single = [one for one in groups if len(one) == 1]
    several = [one for one in groups if len(one) > 1]
    if len(single) == 1 and several:
        single.append(several.pop(min(range(len(several)), key=lambda place: len(several[place]))))
    return [*several, *([np.concatenate(single)] if single else [])]


def _moments(sums: Array, counts: Array, groups: list[NDArray[np.intp]]) -> tuple[Array, Array]:
    """The mean (...) and each stratum's part of its variance (..., strata), of sums and counts (..., questions)."""
    total = counts.sum(axis=-1)
    mean = sums.sum(axis=-1) / total
    distances = sums - mean[..., None] * counts  # of a ratio whose counts vary, too
    parts = [len(one) * distances[..., one].var(axis=-1, ddof=min(1, len(one) - 1)) for one in groups]
    return mean, np.stack(parts, axis=-1) / total[..., None] ** 2


def _studentised(sums: Array, counts: Array, groups: list[NDArray[np.intp]], draws: int, seed: int) -> Array:
    """How many standard errors of their own the means of resampled questions lie from the mean."""
    generator = np.random.default_rng(seed)
    drawn = np.concatenate([one[generator.integers(0, len(one), size=(draws, len(one)))] for one in groups], axis=1)
    ends = np.cumsum([len(one) for one in groups])
    places = [np.arange(end - len(one), end) for end, one in zip(ends, groups, strict=True)]
    means, variances = _moments(sums[drawn], counts[drawn], places)
    errors = np.sqrt(variances.sum(axis=-1))
    spread = errors > 0  # a draw of one question over and over has no error
    return (means[spread] - sums.sum() / counts.sum()) / errors[spread]
