"""How much of a win is style: length and markup of answers, and the win rates with both held equal.

`length_controlled` is the length term of AlpacaEval 2 alone (Dubois et al. 2024, arXiv:2404.04475; compared with
glm_winrate.py of tatsu-lab/alpaca_eval at 1020da2). We differ: no term for the difficulty of an instruction, which
needs their table for their own questions, and no penalty. Style control follows Arena-Hard (compared with
show_result.py of lmarena/arena-hard-auto at 005ac12). We differ: features are scaled and not centred, so that the rates
are those at equal style; length counts characters; questions are drawn whole, and 95 % intervals are a bootstrap-t.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bezoar.steps.evaluate.bradley_terry import DECIDED, Fit, Games, fit, obstacle
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


def usable(games: Games, anchor: str, names: Sequence[Feature]) -> tuple[Games, list[Feature], dict[str, str]]:
    """The games and features of a fit, and why other features are left out.

    A rare feature may have no finite effect: one header, in a turn that is won. It is left out, and so are the turns
    that differ in it, if most of the turns are equal in it and determine all strengths.

    Args:
        games: The games, with a column for each feature.
        anchor: The player with strength 0.
        names: Names of the columns.
    """
    rows, left = np.ones(len(games.share), dtype=bool), dict[str, str]()
    while True:
        columns = [games.features[:, place] != 0 for place in range(len(names))]
        kept = [place for place, one in enumerate(columns) if (one & rows).any()]
        endless = next((place for place in range(len(kept)) if _endless(games, rows, kept[: place + 1], anchor)), None)
        if endless is None:
            others = [name for place, name in enumerate(names) if place not in kept]
            left |= {name: "no answer differs in it from the baseline's" for name in others if name not in left}
            return games.part(rows, kept), [names[place] for place in kept], left
        place = kept[endless]
        count = int((rows & columns[place]).sum())
        left[names[place]] = f"its effect isn't finite; turns that differ in it are left out: {count}"
        rows &= ~columns[place]


def _endless(games: Games, rows: NDArray[np.bool_], features: list[int], anchor: str) -> bool:
    """Whether the last feature has no finite effect, and most of the rows determine all strengths without it."""
    part = games.part(rows, features)
    if obstacle(replace(part, features=scaled(part.features)), anchor) != DECIDED:
        return False
    equal = rows & (games.features[:, features[-1]] == 0)
    rest = games.part(equal, [])
    same = {*rest.first, *rest.second} == {*games.first, *games.second}
    return bool(same and equal.sum() > len(equal) / 2 and obstacle(rest, anchor) is None)


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
