"""How far two judges agree on the same answers: beyond chance, and by rank; with intervals for other questions."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
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


def jackknifed(statistic: Callable[[Array, Array], float], first: Array, second: Array) -> Estimate | None:
    """A correlation of two judges with its 95 % interval; None if it isn't defined.

    Questions are left out one at a time, and Fisher's z of the correlations has Student's t (Miller 1974, Biometrika
    61, 1-15). An interval has no ends if nothing varies, or if a question less leaves the statistic undefined.

    Args:
        statistic: Of the ratings of two judges, each (answers,); at most 1.
        first: (questions, answers) ratings; NaN for none.
        second: The same of another judge.
    """
    both = ~np.isnan(first) & ~np.isnan(second)
    if not both.any() or np.isnan(value := statistic(first[both], second[both])):
        return None
    rated = np.flatnonzero(both.any(axis=1))
    shorter = np.array([_without(statistic, first, second, both, number) for number in rated.tolist()])
    if len(rated) < 3 or np.isnan(shorter).any() or (np.abs([*shorter, value]) >= 1).any():
        return Estimate(value, None, None)
    deviations = np.arctanh(shorter) - np.arctanh(shorter).mean()
    arm = float(stdtrit(len(rated) - 1, 0.975)) * float(np.sqrt((1 - 1 / len(rated)) * (deviations**2).sum()))
    if not arm:
        return Estimate(value, None, None)
    middle = float(np.arctanh(value))
    return Estimate(value, float(np.tanh(middle - arm)), float(np.tanh(middle + arm)))


def _without(
    statistic: Callable[[Array, Array], float], first: Array, second: Array, both: NDArray[np.bool_], number: int
) -> float:
    """The statistic without a question."""
    there = both.copy()
    there[number] = False
    return statistic(first[there], second[there]) if there.any() else float("nan")
