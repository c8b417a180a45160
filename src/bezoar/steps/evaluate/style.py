"""How much of a win is style: length and markup of answers, and the win rates with both held equal.

`length_controlled` is the length term of AlpacaEval 2 alone (Dubois et al. 2024, arXiv:2404.04475; compared with
glm_winrate.py of tatsu-lab/alpaca_eval at 1020da2). We differ: no term for the difficulty of an instruction, which
needs their table for their own questions, and no penalty. Style control follows Arena-Hard (compared with
show_result.py of lmarena/arena-hard-auto at 005ac12). We differ: features are scaled and not centred, so that the rates
are those at equal style; length counts characters; questions are drawn whole, and 95 % intervals are a bootstrap-t.
"""

import re
from dataclasses import replace
from typing import Literal

import numpy as np

from bezoar.steps.evaluate.bradley_terry import Fit, Games, fit
from bezoar.steps.evaluate.stats import Array

Feature = Literal["length", "headers", "lists", "bold"]
CODE = re.compile(r"```[^`]*```")
MARKUP: dict[str, re.Pattern[str]] = {
    "headers": re.compile(r"^#{1,6}\s", re.MULTILINE),
    "lists": re.compile(r"^\s*(?:\d+\.|[-*+])\s", re.MULTILINE),
    "bold": re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__"),
}


def counts(text: str) -> dict[str, int]:
    """Characters of an answer, and headers, list items and bold texts outside of its blocks of code."""
    prose = CODE.sub("", text)
    return {"length": len(text)} | {name: len(pattern.findall(prose)) for name, pattern in MARKUP.items()}


def difference(feature: Feature, one: dict[str, int], other: dict[str, int]) -> float:
    """How much more of a feature one answer has than the other, from -1 to 1; 0 for two answers without any.

    Length is compared relative to the sum; markup per character, as in Arena-Hard.
    """
    if feature == "length":
        total = one["length"] + other["length"]
        return (one["length"] - other["length"]) / total if total else 0.0
    densities = [side[feature] / side["length"] if side["length"] else 0.0 for side in (one, other)]
    return (densities[0] - densities[1]) / (densities[0] + densities[1] + 1)


def scaled(features: Array) -> Array:
    """Columns in units of their spread around 0, so that 0 stays 0; a column without values stays as it is."""
    spread = np.sqrt((features**2).mean(axis=0))
    found: Array = features / np.where(spread > 0, spread, 1)
    return found


def style_controlled(games: Games, anchor: str, strata: list[str], draws: int, seed: int) -> Fit:
    """All players' strengths at equal style; the effects of the features are common to all players.

    Each feature needs a value that isn't 0.
    """
    return fit(replace(games, features=scaled(games.features)), anchor, strata, draws, seed)


def length_controlled(games: Games, anchor: str, gaps: Array, strata: list[str], draws: int, seed: int) -> Fit:
    """One player's strength at equal length: the mean of its chances at a difference of 0, which are all the same.

    Args:
        games: The games of one player against the anchor.
        anchor: The other player.
        gaps: (rows,), how many characters the player's answer has more.
        strata: Stratum of each question.
        draws: Bootstrap draws.
        seed: Seed of the draws.
    """
    spread = gaps.std(ddof=1) if len(gaps) > 1 else 0.0
    columns = np.tanh(gaps / spread) if spread > 0 else np.sign(gaps)  # of equal gaps: its limit
    columns = columns[:, None] if gaps.any() else np.zeros((len(gaps), 0))
    return fit(replace(games, features=columns), anchor, strata, draws, seed)
