"""The near-duplicates among a mix's rows: which are dropped, which row stays for each, and what is a cluster."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from bezoar.steps import chat
from bezoar.steps.chat import RESPONSES, Turn
from bezoar.steps.data import rows
from bezoar.steps.data.examples import Example, example_of, key_of, parts_of
from bezoar.steps.data.mix import Mix
from bezoar.steps.data.near import Clusters, Texts
from bezoar.steps.data.pool import Pool
from bezoar.steps.data.rows import DroppedRow, Unusable

NEAR, SAME = "near-duplicate", "duplicate"
DIGITS = 4  # of a similarity


@dataclass(frozen=True)
class Lost:
    """A row that another one stays for; rows are numbers of the pool."""

    row: int
    kept: int
    similarity: float
    reason: str


class Alike:
    """Near-duplicates of a mix's rows; there are none if the mix keeps them all."""

    def __init__(self, block: Mix, system: str | None, pool: Pool) -> None:
        """Nothing yet: rows are added in the order of the pool, then the train rows of earlier mixes.

        Args:
            block: The mix.
            system: System text of a row without its own; None for none.
            pool: All rows.
        """
        self._block, self._system, self._pool = block, system, pool
        near = block.near_duplicates
        wanted = {} if near is None else {False: near.pairs, True: near.prompts}
        self._texts = [Texts(least, prompts=prompts) for prompts, least in wanted.items() if least is not None]
        self._clusters = Clusters([], 0)
        self._lost: dict[int, Lost] = {}
        self._names: dict[int, str] = {}

    @property
    def _pairs(self) -> bool:
        return self._block.format == "preference"

    def add(self, row: Any) -> None:
        """Add a row of the mix."""
        try:
            messages, responses = parts_of(row, self._pairs)
        except Unusable:  # it is dropped for that if it is drawn
            self._compare([], [])
            return
        prompt = [Turn(role=one.role, content=one.content) for one in messages]
        self._compare(chat.with_system(prompt, self._system), list(responses.values()))

    def add_earlier(self, examples: Iterable[Example]) -> None:
        """Add train rows of earlier mixes, which stay, and find what is like what; no more rows can be added."""
        own = len(self._pool)
        for example in examples if self._texts else ():
            self._pool.add_earlier(example["id"])
            answers = [one["content"] for name in RESPONSES for one in example.get(name, [])]
            self._compare(example["prompt"], answers)
        related = None if self._block.near_duplicates and self._block.near_duplicates.within_families else self._related
        self._clusters = Clusters(self._texts, own, related)

    def _compare(self, prompt: list[Turn], responses: list[str]) -> None:
        system = "".join(one["content"] for one in prompt if one["role"] == "system")
        asked = "\n".join(one["content"] for one in prompt if one["role"] != "system")
        for one in self._texts:
            one.add(asked, "\n".join(responses), system)

    def _related(self, one: int, other: int) -> bool:
        return self._pool.key(one)[2] == self._pool.key(other)[2]

    def thin(self, part: int) -> Iterator[Lost]:
        """The rows of a part that are dropped: for better ones, or for rows that earlier parts gave."""
        for row, kept, similarity in self._clusters.thin(self._pool.best(part) if self._texts else ()):
            self._lost[row] = Lost(row, kept, similarity, SAME if self._key(row) == self._key(kept) else NEAR)
            yield self._lost[row]

    def _key(self, row: int) -> str:
        return key_of(example_of(self._pool.row(row)[2], self._pairs, self._system, None))

    def is_lost(self, row: int) -> bool:
        """Whether another row stays for a row."""
        return row in self._lost

    def leave(self, row: int) -> None:
        """Say that a row isn't taken, so that no row of a later part is dropped for it."""
        self._clusters.leave(row)

    def place(self, lost: Lost) -> str:
        """The places of a row and of the one that stays for it."""
        found = "is near" if lost.reason == NEAR else "repeats"
        return f"{self._pool.place(lost.row)} {found} {self._pool.place(lost.kept)}"

    def name_clusters(self) -> None:
        """Name all clusters, after the last part."""
        for members in self._clusters.members():
            name = rows.row_id("near-duplicates", min(self._pool.key(one)[1] for one in members))
            self._names |= dict.fromkeys(members, name)

    def cluster(self, row: int) -> str | None:
        """The name of a row's cluster; None if no other row is like it."""
        return self._names.get(row)

    def dropped(self) -> Iterator[DroppedRow]:
        """All rows that are dropped, each with the id of the row that stays for it."""
        for row, lost in self._lost.items():
            part, name, _ = self._pool.key(row)
            about = {"kept": self._pool.key(lost.kept)[1], "similarity": round(lost.similarity, DIGITS)}
            found = {"id": name, "part": self._block.parts[part].name, **about, "cluster": self._names[row]}
            yield DroppedRow(reason=lost.reason, detail=self.place(lost), row=found)

    def close(self) -> None:
        """Remove temporary files."""
        for one in self._texts:
            one.close()
