"""A few rows of each kind out of many: the same ones for the same rows, and not more bytes than a page can hold."""

from bisect import insort
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from bezoar.page.html import escaped_json
from bezoar.steps.data.rows import rank

Item = TypeVar("Item")
Stratum = tuple[str, ...]  # such as step and reason
SEED = 0


@dataclass
class Sample(Generic[Item]):
    """A sample by strata. Rows are drawn by a hash of their keys, so the order in which they come doesn't matter.

    Attributes:
        each: Most rows of a stratum.
        counts: All rows by stratum, in the order of their first rows.
    """

    each: int
    counts: Counter[Stratum] = field(default_factory=Counter)
    _drawn: dict[Stratum, list[tuple[str, str, Item]]] = field(default_factory=dict)

    def add(self, stratum: Stratum, key: str, place: str, item: Item) -> None:
        """Look at a row.

        Args:
            stratum: The kind of row.
            key: What it is drawn by, such as its id.
            place: Decides between rows with the same key.
            item: The row.
        """
        self.counts[stratum] += 1
        drawn = self._drawn.setdefault(stratum, [])
        order = (rank(SEED, "page", key), place)
        if len(drawn) < self.each or order < drawn[-1][:2]:
            insort(drawn, (*order, item), key=lambda one: one[:2])
            del drawn[self.each :]

    def drawn(self) -> Iterator[tuple[Stratum, Item]]:
        """The sample: one row of each stratum, then a second one of each, and so on."""
        for turn in range(self.each):
            for stratum, drawn in self._drawn.items():
                if turn < len(drawn):
                    yield stratum, drawn[turn][2]

    def size(self) -> int:
        """Rows of the sample."""
        return sum(len(drawn) for drawn in self._drawn.values())

    def take(self, budget: int, shown: Callable[[Stratum, Item], Any]) -> dict[Stratum, list[Any]]:
        """The rows of the sample by stratum as `shown` makes them, within a budget of bytes of the page."""
        found: dict[Stratum, list[Any]] = {stratum: [] for stratum in self._drawn}
        for stratum, item in self.drawn():
            made = shown(stratum, item)
            needed = len(escaped_json(made)) + 1  # and a comma
            if needed <= budget:
                found[stratum].append(made)
                budget -= needed
        return found
