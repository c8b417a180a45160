"""Families of rows: near-duplicates stay on one side of a split."""

from collections.abc import Iterable, Mapping
from typing import Any

from bezoar.steps.data.rows import normalized, row_id

KEYS = ("family", "first_turn")  # columns of a mix's rows; rows that share a value of either are one family


def first_turn(text: str) -> str:
    """A key that dialogues and instructions with the same first turn share."""
    return row_id("first turn", normalized(text))


class Families:
    """Groups of rows that share a key, directly or through other rows."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def join(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows; they may merge families."""
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
