"""How far two judges agree on the same answers: beyond chance, and by rank; with intervals for other questions."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from bezoar.steps.evaluate.stats import Estimate

Array = NDArray[np.float64]


def weighted_kappa(first: Array, second: Array) -> float:
    """Agreement beyond chance, where a distance counts by its square; NaN if neither judge's ratings vary.

    Chance is that each judge gives its own ratings to the answers in any order. 1 is equal ratings everywhere; a judge
    that gives the same ratings in the same order, but higher ones, has less.

    Source: Cohen 1968, doi:10.1037/h0026256, with quadratic weights.
    """
    expected = first.var() + second.var() + (first.mean() - second.mean()) ** 2
    return float(1 - ((first - second) ** 2).mean() / expected) if expected > 0 else float("nan")


def spearman(first: Array, second: Array) -> float:
    """Correlation of ranks, which doesn't mind that one judge is milder; NaN if a judge's ratings don't vary."""
    ranks = [rankdata(one) - (len(one) + 1) / 2 for one in (first, second)]
    scale = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum() / scale) if scale > 0 else float("nan")


def resampled(
    statistic: Callable[[Array, Array], float], first: Array, second: Array, strata: list[str], draws: int, seed: int
) -> Estimate | None:
    """A statistic of two judges with its percentile interval; None if it isn't defined.

    An interval has no ends if a resampled table leaves the statistic undefined.

    Args:
        statistic: Of the ratings of two judges, each (answers,).
        first: (questions, answers) ratings; NaN for none.
        second: The same of another judge.
        strata: Category of each question.
        draws: Bootstrap draws of questions, within their categories.
        seed: Seed of the draws.
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    if not both.any() or np.isnan(value := statistic(first[both], second[both])):
        return None
    places = [np.flatnonzero(np.array(strata) == name) for name in sorted(set(strata))]
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        drawn = np.concatenate([one[generator.integers(0, len(one), len(one))] for one in places])
        there = both[drawn]
        found.append(statistic(first[drawn][there], second[drawn][there]) if there.any() else float("nan"))
    if np.isnan(found).any():
        return Estimate(value, None, None)
    low, high = np.percentile(found, [2.5, 97.5])
    return Estimate(value, float(low), float(high))
