"""All rows of a mix's parts, in a temporary database: in memory is only what is looked at."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bezoar.errors import InputError, problem
from bezoar.steps.data import rows
from bezoar.steps.data.examples import family_of
from bezoar.steps.data.mix import Part
from bezoar.steps.data.spool import database

TYPES = {kind.__name__: kind for kind in rows.TRAINABLE}
UNRATED = -1.0
Placed = tuple[str, dict[str, Any], Any]  # a row's place, the file and line that it is from, and the row


@dataclass(frozen=True)
class Folders:
    """The folders with rows of schemes, sources, selections and pairs."""

    filtered: Path
    source: Path
    selected: Path
    shards: int
    pairs: Path = Path("data/pairs")


def files_of(part: Part, folders: Folders) -> list[Path]:
    """The files with a part's rows."""
    if part.kind is None:
        raise InputError(
            problem(
                f"part {part.name}: neither a scheme, a source nor pairs",
                found="no kind",
                expected="kind: scheme, source or pairs, as the whole recipe says",
                hint="`bezoar recipe show` prints the whole recipe",
            )
        )
    if part.kind in ("scheme", "pairs"):
        folder, name = (folders.filtered, "kept") if part.kind == "scheme" else (folders.pairs, "rows")
        return [folder / part.name / f"{shard:04d}" / f"{name}.jsonl" for shard in range(folders.shards)]
    folder = folders.selected if part.kind == "selected" else folders.source
    return [folder / part.name / "rows.jsonl"]


def placed_rows(part: Part, folders: Folders, *, preference: bool = False) -> Iterator[Placed]:
    """Each row of a part with its place, and with the file and line that it is from.

    With `preference`, they have to be preferences.

    Raises:
        ValueError: A file isn't rows of this mix, or a source or a selection has other places than rows.
    """
    for path in files_of(part, folders):
        placed = rows.placed_rows(path, type_of(path, preference=preference))
        if part.kind in ("scheme", "pairs"):
            for place, row in placed:
                yield place, dict(zip(("file", "line"), rows.split_place(place)[:2], strict=True)), row
            continue
        places = rows.read_rows(path.with_name("places.jsonl"), rows.PlaceRow)
        for (place, row), origin in zip(placed, places, strict=True):
            yield place, origin.model_dump(exclude={"id"}, exclude_none=True), row


def type_of(path: Path, *, preference: bool) -> type[rows.Row]:
    """The type of a part's rows.

    Raises:
        ValueError: No mix takes such rows, or they aren't preferences.
    """
    found = rows.row_type(path)
    if preference and not issubclass(found, rows.PreferenceRow) and path.stat().st_size:
        raise ValueError(
            problem(f"{path}: no preferences", found=found.__name__, expected="preferences, for a mix of this format")
        )
    return found


class Pool:
    """Rows of all parts, by number from 0, in the order in which they are added."""

    def __init__(self, seed: int) -> None:
        self._seed, self._count = seed, 0
        self._rows = database(
            "keys(number INTEGER PRIMARY KEY, part INTEGER, rank TEXT, rating REAL, id TEXT, family TEXT)",
            "texts(number INTEGER PRIMARY KEY, place TEXT, origin TEXT, kind TEXT, row TEXT)",
        )

    def __len__(self) -> int:
        return self._count

    def add(self, part: int, place: str, origin: dict[str, Any], row: Any) -> None:
        """Add a row of a part, which is named by its number."""
        rating = getattr(row, "rating", None)
        key = (self._count, part, rows.rank(self._seed, row.id), UNRATED if rating is None else rating, row.id)
        self._rows.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?)", (*key, family_of(row)))
        text = (self._count, place, json.dumps(origin), type(row).__name__, row.model_dump_json())
        self._rows.execute("INSERT INTO texts VALUES (?, ?, ?, ?, ?)", text)
        self._count += 1

    def add_earlier(self, name: str) -> None:
        """Add a row of an earlier mix, which belongs to no part, by its id."""
        self._rows.execute("INSERT INTO keys (number, id) VALUES (?, ?)", (self._count, name))
        self._count += 1

    def size(self, part: int) -> int:
        """The number of a part's rows."""
        return int(self._rows.execute("SELECT count(*) FROM keys WHERE part = ?", (part,)).fetchone()[0])

    def drawn(self, part: int) -> Iterator[int]:
        """The numbers of a part's rows in the order of a hash of seed and id."""
        return self._numbers("SELECT number FROM keys WHERE part = ? ORDER BY rank, number", part)

    def best(self, part: int) -> Iterator[int]:
        """The numbers of a part's rows, the best rated first; those with the same rating in the order of their ids."""
        return self._numbers("SELECT number FROM keys WHERE part = ? ORDER BY rating DESC, id, number", part)

    def _numbers(self, query: str, part: int) -> Iterator[int]:
        return (number for (number,) in self._rows.execute(query, (part,)))

    def row(self, number: int) -> Placed:
        """A row with its place and origin."""
        found = "SELECT place, origin, kind, row FROM texts WHERE number = ?"
        place, origin, kind, text = self._rows.execute(found, (number,)).fetchone()
        return place, json.loads(origin), TYPES[kind].model_validate_json(text)

    def place(self, number: int) -> str:
        """A row's place."""
        return str(self._rows.execute("SELECT place FROM texts WHERE number = ?", (number,)).fetchone()[0])

    def key(self, number: int) -> tuple[int, str, str]:
        """A row's part, id and family."""
        found = self._rows.execute("SELECT part, id, family FROM keys WHERE number = ?", (number,)).fetchone()
        return found[0], found[1], found[2]
