"""Draw a mix's examples from the rows of its parts, without duplicates and near-duplicates."""

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from bezoar.steps.data import rows
from bezoar.steps.data.accounting import Tally
from bezoar.steps.data.alike import SAME, Alike
from bezoar.steps.data.examples import Example, Window, example_of, key_of
from bezoar.steps.data.families import CLUSTER, KEYS
from bezoar.steps.data.mix import Mix
from bezoar.steps.data.pool import Placed, Pool
from bezoar.steps.data.rows import DroppedRow, Unusable
from bezoar.steps.data.spool import database

Clean = Callable[[Any], Any]  # gives a row without what is cleaned off, or raises Unusable


class Draw:
    """Examples of all parts, without duplicates and near-duplicates, and why other rows aren't among them."""

    def __init__(
        self, block: Mix, system: str | None, window: Window | None, seed: int, drop: Callable[[DroppedRow], object]
    ) -> None:
        """An empty draw.

        Args:
            block: The mix.
            system: System text of a row without its own; None for none.
            window: Cuts the rows, if given.
            seed: The recipe's seed.
            drop: Takes each dropped row.
        """
        self._block, self._system, self._window, self._seed, self._drop = block, system, window, seed, drop
        self._pool = Pool(seed)
        self._alike = Alike(block, system, self._pool)
        self._own = self._count = 0
        self._before = [Tally() for _ in block.parts]  # rows of each part that are dropped before any is drawn
        self._made = database(
            "examples(number INTEGER PRIMARY KEY, row INTEGER, rank TEXT, example TEXT, origin TEXT)",
            "texts(hash TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID",
        )

    def __len__(self) -> int:
        return self._count

    def fill(self, part: int, found: Iterable[Placed], clean: Clean) -> None:
        """Add the rows of a part, which is named by its number, after cleaning."""
        for place, origin, row in found:
            try:
                cleaned = clean(row)
            except Unusable as reason:
                self._lose(part, self._before[part], str(reason), place, row.id)
                continue
            self._pool.add(part, place, origin, cleaned)
            self._alike.add(cleaned)

    def compare(self, earlier: Iterable[Example]) -> None:
        """Find the near-duplicates of all rows, also in the train rows of earlier mixes; no more rows can be added."""
        self._own = len(self._pool)
        self._alike.add_earlier(earlier)

    def take(self, number: int) -> tuple[dict[str, Any], Tally, Tally]:
        """Take the rows of a part in the order of a hash of seed and id, until there are enough.

        The next row replaces a row that gives no example, so only rows that are taken or dropped are cut.

        Returns:
            Counts; the rows that are dropped before any is drawn; and those that are drawn and dropped.
        """
        part, before, faulty, taken, left = self._block.parts[number], self._before[number], Tally(), 0, 0
        found = len(before) + self._pool.size(number)
        for lost in self._alike.thin(number):
            before.add(lost.reason, self._alike.place(lost))
        for row in self._pool.drawn(number):
            if self._alike.is_lost(row):
                continue
            if taken != part.rows and self._add(number, row, faulty):
                taken += 1
                continue
            left += taken == part.rows
            self._alike.leave(row)
        counts: dict[str, Any] = {"kind": part.kind, "name": part.name, "asked": part.rows, "found": found}
        dropped = dict(sorted((before.reasons + faulty.reasons).items()))
        return counts | {"taken": taken, "dropped": dropped, "not_drawn": left}, before, faulty

    def _add(self, part: int, row: int, faulty: Tally) -> bool:
        """Whether a row is taken."""
        place, origin, content = self._pool.row(row)
        cuts = Counter(self._window.cuts) if self._window else Counter()
        try:
            example = example_of(content, self._block.format == "preference", self._system, self._window)
        except Unusable as reason:
            self._lose(part, faulty, str(reason), place, content.id)
        else:
            if (known := self._known(key_of(example), place)) is None:
                self._keep(part, row, example, origin)
                return True
            self._lose(part, faulty, SAME, f"{place} repeats {known}", content.id)
        if self._window:
            self._window.cuts = cuts  # rows that aren't taken aren't cut
        return False

    def _known(self, key: str, place: str) -> str | None:
        """The place of an earlier example with the same texts; None if there is none."""
        if self._made.execute("INSERT OR IGNORE INTO texts VALUES (?, ?)", (key, place)).rowcount:
            return None
        return str(self._made.execute("SELECT place FROM texts WHERE hash = ?", (key,)).fetchone()[0])

    def _lose(self, part: int, tally: Tally, reason: str, detail: str, name: str) -> None:
        tally.add(reason, detail)
        self._drop(DroppedRow(reason=reason, detail=detail, row={"id": name, "part": self._block.parts[part].name}))

    def _keep(self, number: int, row: int, example: Example, origin: dict[str, Any]) -> None:
        part = self._block.parts[number]
        scheme = part.name if part.kind == "scheme" else None
        origin = {"part": part.name, "kind": part.kind, "scheme": scheme, **origin, "family": example["family"]}
        rank, text = rows.rank(self._seed, "order", example["id"]), rows.line_of(example)
        made = (self._count, row, rank, text, json.dumps({"id": example["id"], "split": None} | origin))
        self._made.execute("INSERT INTO examples VALUES (?, ?, ?, ?, ?)", made)
        self._count += 1

    def finish(self) -> None:
        """Name clusters, and say of each near-duplicate which row stays for it, after the last part is taken."""
        self._alike.name_clusters()
        for row in self._alike.dropped():
            self._drop(row)
        self._alike.close()

    def keys(self) -> Iterator[dict[str, str]]:
        """The family keys of each example, with its cluster if it has one."""
        for row, text in self._made.execute("SELECT row, example FROM examples ORDER BY number"):
            yield self._keys(json.loads(text), row)

    def earlier_keys(self, trained: Iterable[Example]) -> Iterator[dict[str, str]]:
        """The same of the train rows of earlier mixes."""
        return (self._keys(example, row) for row, example in enumerate(trained, start=self._own))

    def _keys(self, example: Example, row: int) -> dict[str, str]:
        return {key: example[key] for key in KEYS} | {CLUSTER: self._alike.cluster(row) or ""}

    def trained(self, held: Container[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each example that isn't held out, as a line of JSON, and its origin, in the order of a hash."""
        found = self._made.execute("SELECT number, row, example, origin FROM examples ORDER BY rank, number")
        return (self._written("train", *one) for number, *one in found if number not in held)

    def held(self, numbers: Iterable[int]) -> Iterator[tuple[str, dict[str, Any]]]:
        """The same of the examples that are held out, in their order."""
        query = "SELECT row, example, origin FROM examples WHERE number = ?"
        return (self._written("eval", *self._made.execute(query, (number,)).fetchone()) for number in numbers)

    def _written(self, split: str, row: int, example: str, origin: str) -> tuple[str, dict[str, Any]]:
        return example, json.loads(origin) | {"split": split, CLUSTER: self._alike.cluster(row)}
