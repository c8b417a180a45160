"""Which rows of training sets stand or fall together: near-duplicates stay on one side of a split."""

from collections.abc import Iterable, Mapping
from typing import Any

from bezoar.steps.data.rows import normalized, row_id

KEYS = ("family", "first_turn")  # columns of a mix's rows; two rows that share a value of either are of one family


def first_turn(text: str) -> str:
    """What a dialogue's first turn, or an instruction, has in common with others that ask the same."""
    return row_id("first turn", normalized(text))


class Families:
    """Rows that share a key, or are tied by others that share one with each of them."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def join(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take in more rows; they may tie families together."""
        for row in rows:
            first, *others = (self._top(row[key]) for key in KEYS)
            for other in others:
                self._above[max(first, other)] = min(first, other)
                first = min(first, other)

    def of(self, row: Mapping[str, Any]) -> str:
        """The name of a row's family: the smallest of all its keys."""
        return self._top(row[KEYS[0]])

    def _top(self, key: str) -> str:
        above = self._above.setdefault(key, key)
        while above != self._above[above]:
            self._above[key] = above = self._above[above]
        return above
