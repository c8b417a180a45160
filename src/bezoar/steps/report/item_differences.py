"""Paired differences of scores that are means over items, such as those of the harness."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from scipy.special import stdtr, stdtrit

from bezoar.files import rounded
from bezoar.steps.evaluate.compared import ComparedEval
from bezoar.steps.report.differences import differences

Scores = Mapping[str, Mapping[Hashable, float]]  # by checkpoint and item


def paired_mean(one: Mapping[Hashable, float], other: Mapping[Hashable, float]) -> dict[str, Any] | None:
    """The mean difference on the items that both have, by Student's t (Miller 2024, arXiv:2411.00640, section 4.2).

    Benchmarks have hundreds of items; there it covers the truth as often as resampling, at no cost.

    Returns:
        None without a common item; no interval and no p-value if all differences are equal but 0.
    """
    common = sorted(set(one) & set(other), key=str)
    gaps = np.array([one[item] - other[item] for item in common])
    if not len(gaps):
        return None
    mean, error = float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(len(gaps))) if len(gaps) > 1 else 0.0
    found: dict[str, Any] = {"mean": mean, "low": None, "high": None, "standard_error": error, "items": len(gaps)}
    if error == 0:
        return {**rounded(found), "p": 1.0 if mean == 0 else None}
    reach = float(stdtrit(len(gaps) - 1, 0.975)) * error
    least = -1.0 if all(0 <= score <= 1 for score in (*one.values(), *other.values())) else -np.inf
    p = float(2 * stdtr(len(gaps) - 1, -abs(mean) / error))
    low, high = max(least, mean - reach), min(-least, mean + reach)
    return {**rounded(found | {"low": low, "high": high, "p": p})}


def item_differences(
    block: ComparedEval, scores: Mapping[str, Scores]
) -> tuple[dict[str, dict[str, dict[str, Any]]], dict[str, Any]]:
    """By score and checkpoint, its differences; and how many comparisons they are.

    Args:
        block: The evaluation.
        scores: The scores of each item, by the name of the score, checkpoint, and item.
    """
    return differences(block, scores, lambda score, name, other: paired_mean(scores[score][name], scores[score][other]))
