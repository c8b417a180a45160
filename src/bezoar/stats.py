"""Scores with their uncertainty: questions are drawn again, whole and within their category."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def stratified_mean(cells: NDArray[np.float64], strata: list[str], draws: int, seed: int) -> Estimate:
    """Mean of all cells, with a percentile bootstrap interval over questions.

    A question's turns move together, since they are not independent, and each stratum keeps its number of questions,
    since the categories of a benchmark are fixed. To compare two models, pass the difference of their cells.

    Args:
        cells: (questions, turns); NaN where a score is missing.
        strata: Category of each question.
        draws: Bootstrap draws.
        seed: Seed of the draws.

    Raises:
        ValueError: No cell holds a score.

    Source: Miller 2024 (arXiv:2411.00640), section 2.2, on clustered questions.
    """
    if np.isnan(cells).all():
        raise ValueError("no score to average")
    generator = np.random.default_rng(seed)
    sums, counts = np.nansum(cells, axis=1), (~np.isnan(cells)).sum(axis=1)
    categories = np.array(strata)
    drawn = []
    for category in sorted(set(strata)):
        members = np.flatnonzero(categories == category)
        drawn.append(members[generator.integers(0, len(members), size=(draws, len(members)))])
    questions = np.concatenate(drawn, axis=1)
    counted = counts[questions].sum(axis=1)
    means = sums[questions].sum(axis=1)[counted > 0] / counted[counted > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))
