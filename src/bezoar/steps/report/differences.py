"""Paired differences of a report's checkpoints, and which of them are more than chance among all of them."""

import math
from collections.abc import Callable, Iterable
from typing import Any

from bezoar.steps.evaluate.compared import ComparedEval
from bezoar.steps.evaluate.significance import LEVEL, holm

Compare = Callable[[str, str, str], dict[str, Any] | None]
NONE: dict[str, Any] = {"difference_to_first": None, "difference_to_previous": None, "compared_to": {}}


def differences(
    block: ComparedEval, scores: Iterable[str], compare: Compare, checkpoints: list[str] | None = None
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The differences of each checkpoint, by score and checkpoint, and what they are together.

    A pair of checkpoints is one comparison of each score, however often it is shown. A difference is flagged as
    significant if Holm's rule flags it among all comparisons of the report.

    Args:
        block: The evaluation.
        scores: Names of the scores.
        compare: From a score's name, a checkpoint and another one to their difference: `mean`, `low`, `high`, and `p`.
            None if nothing can be compared.
        checkpoints: Those that are compared, in order; all of the evaluation's if None.

    Returns:
        By score and checkpoint `difference_to_first`, `difference_to_previous` and, by name, `compared_to`;
        and the number of comparisons.
    """
    names = block.checkpoints if checkpoints is None else checkpoints
    scores = list(scores)
    found: dict[tuple[str, str, str], dict[str, Any] | None] = {}
    for score in scores:
        for place, name in enumerate(names):
            for other in _others(names, place, block.compare_to):
                found[score, name, other] = compare(score, name, other)
    flags = _flags(found)
    for key, one in found.items():
        if one is not None:
            found[key] = {"to": key[2], **one, **flags[_pair(key)]}
    table = {
        score: {name: _shown(found, score, names, place, block.compare_to) for place, name in enumerate(names)}
        for score in scores
    }
    significant = sum(bool(flag["significant"]) for flag in flags.values())
    return table, {"count": len(flags), "significant": significant, "level": LEVEL, "method": "Holm 1979"}


def draws_of(block: ComparedEval, scores: int, samples: int) -> int:
    """Bootstrap draws of a report's differences: at least `samples`, and so many that Holm's rule can flag one.

    A p-value is at least 2 / (draws + 1), and the smallest of all is multiplied by their number.

    Args:
        block: The evaluation.
        scores: Number of the scores that are compared.
        samples: Bootstrap draws of its other intervals.
    """
    names = block.checkpoints
    count = scores * sum(len(_others(names, place, block.compare_to)) for place in range(len(names)))
    return max(samples, math.ceil(2 * count / LEVEL))


def _others(names: list[str], place: int, named: list[str]) -> list[str]:
    """The checkpoints that one is compared with, each once."""
    before = names[:place]
    others = [one for one in named if one in names and one != names[place]]
    return list(dict.fromkeys([*before[:1], *before[-1:], *others]))


def _pair(key: tuple[str, str, str]) -> tuple[str, ...]:
    """A comparison, in whichever direction."""
    score, *pair = key
    return (score, *sorted(pair))


def _flags(found: dict[tuple[str, str, str], dict[str, Any] | None]) -> dict[tuple[str, ...], dict[str, Any]]:
    """By comparison, Holm's p-value, and whether the difference is significant; null where there is no p-value."""
    p_values = {_pair(key): one["p"] for key, one in found.items() if one is not None}
    adjusted = holm(list(p_values.values()))
    return {
        pair: {"p_holm": p, "significant": None if p is None else p < LEVEL}
        for pair, p in zip(p_values, adjusted, strict=True)
    }


def _shown(
    found: dict[tuple[str, str, str], dict[str, Any] | None], score: str, names: list[str], place: int, named: list[str]
) -> dict[str, Any]:
    name = names[place]
    if place == 0:
        first, previous = None, None
    else:
        first, previous = found[score, name, names[0]], found[score, name, names[place - 1]]
    others = {one: found[score, name, one] for one in named if one in names and one != name}
    return {"difference_to_first": first, "difference_to_previous": previous, "compared_to": others}
