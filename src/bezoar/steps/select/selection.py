"""What all methods share: their block, the flags of their scripts, and writing the selected rows."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import Name, Share
from bezoar.files import artifact, rounded, write_json
from bezoar.logs import logger
from bezoar.problems import Problem
from bezoar.script import Flags
from bezoar.steps.data import accounting
from bezoar.steps.data.examples import parts_of
from bezoar.steps.data.mix import Part
from bezoar.steps.data.pool import Folders, Pool, placed_rows
from bezoar.steps.data.rows import FAILED, DroppedRow, Message, PlaceRow, Row, Unusable, write_rows
from bezoar.steps.seeded import Seeded

NOT_SELECTED = "not selected"


class SelectionBlock(Seeded):
    """The base class of selections.

    Attributes:
        script: Its script in `scripts/select/`.
        reads: Other keys of the recipe that the script reads.
    """

    section: ClassVar[str] = "selections"
    rules: ClassVar[tuple[str, ...]] = ("select",)
    script: ClassVar[str] = ""
    reads: ClassVar[tuple[str, ...]] = ("seed", "shards")

    of: Name = Field(description="Whose rows: those that a scheme's filter, or a baseline of it, keeps, or a source's.")
    kind: Literal["scheme", "source"] | None = Field(
        None, description="Null takes the scheme of this name, or the source if there is no such scheme."
    )
    rows: int = Field(ge=1, description="Rows to select; of all shards together.")
    max_missing_share: Share = Field(0.0, description="Share of `rows` that may be missing, since too few rows fit.")

    @property
    def part(self) -> Part:
        """The rows that are selected from."""
        return Part(name=self.of, kind=self.kind)

    def files(self) -> list[str]:
        """Files that it reads in addition to the rows."""
        return []

    def checkpoints(self) -> dict[str, str]:
        """By key, the checkpoint that its job loads itself, if there is one."""
        return {}

    def problems(self, recipe: Any) -> Iterator[Problem]:
        """More rows than there can be."""
        most = recipe.most_rows(self.part)
        if most is not None and most < self.rows * (1 - self.max_missing_share):
            found, hint = f"{self.rows:,} of at most {most:,} rows of {self.of}", "a selection leaves rows out"
            yield Problem(("rows",), "more rows than there are", found, f"at most {most:,}", hint)


class ScoreRow(Row):
    """Why a row is selected."""

    id: str
    score: float | None = Field(description="Rows with the highest ones are selected; null for a random draw.")
    measures: dict[str, float] = Field(description="What the score is computed from.")


@dataclass(frozen=True)
class Ranked:
    """A row of a pool by its number, with its score."""

    number: int
    score: float | None = None
    measures: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return "" if self.score is None else f"score {rounded(self.score):g}"


class Choice:
    """The rows that are selected so far, the best first, and why others aren't.

    Attributes:
        taken: The selected rows.
        left: By number, the reason and a detail of each other row.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.taken: list[Ranked] = []
        self.left: dict[int, tuple[str, str]] = {}

    @property
    def full(self) -> bool:
        """Whether there are enough rows."""
        return len(self.taken) == self.rows

    def offer(self, row: Ranked) -> None:
        """Take a row, if there aren't enough; rows come in the order of their scores."""
        if self.full:
            self.leave(row.number, NOT_SELECTED, str(row))
        else:
            self.taken.append(row)

    def leave(self, number: int, reason: str, detail: str = "") -> None:
        """Leave a row out."""
        self.left[number] = (reason, detail)


def flags(description: str | None) -> Flags:
    """The flags of every select script."""
    parser = Flags(description)
    parser.path("filtered", "folder of filtered schemes")
    parser.path("source", "folder of sources")
    parser.path("prompts", "prompt file, if rows are scored by a model's answers", optional=True)
    parser.path("checkpoint", "model directory, if a model reads the rows", optional=True)
    parser.path("complexity", "model directory of a local model that scores complexity", optional=True)
    parser.path("quality", "model directory of a local model that scores quality", optional=True)
    parser.folder("out", "folder to write rows.jsonl, places.jsonl, scores.jsonl, dropped.jsonl and report.json to")
    return parser


def pooled(block: SelectionBlock, filtered: Path, source: Path, seed: int, shards: int) -> Pool:
    """All rows that a selection is made from.

    Raises:
        ValueError: A file isn't rows of a mix.
    """
    pool = Pool(block.own_seed(seed))
    for place, origin, row in placed_rows(block.part, Folders(filtered, source, Path(), shards)):
        pool.add(0, place, origin, row)
    return pool


def answered(pool: Pool, choice: Choice) -> Iterator[tuple[int, list[Message], str]]:
    """Number, prompt and answer of each row, in the order of a hash of seed and id; others are left out.

    Of a preference, the answer is the chosen one.
    """
    for number in pool.drawn(0):
        try:
            messages, answers = parts_of(pool.row(number)[2], preference=False)
        except Unusable as reason:
            choice.leave(number, str(reason))
        else:
            yield number, messages, answers["completion"]


def best_first(rows: list[Ranked]) -> list[Ranked]:
    """Rows by falling score; those with the same score stay in their order, which is random by `answered`."""
    return sorted(rows, key=lambda row: -(row.score or 0.0))


def write_selection(block: SelectionBlock, pool: Pool, choice: Choice, out_folder: Path) -> None:
    """Write the selected rows, the best first, with their places and scores, and why the others aren't selected.

    Raises:
        ValueError: No row is selected, or too few, or rows got lost.
    """
    name = out_folder.name
    counts = Counter(reason for reason, _ in choice.left.values())
    failed = {reason: count for reason, count in sorted(counts.items()) if reason.startswith(FAILED)}
    dropped = {reason: count for reason, count in sorted(counts.items()) if reason not in failed}
    left = [_dropped(pool, number, *why) for number, why in sorted(choice.left.items())]
    key, hint = f"selections.{name}.max_missing_share", f"are these the right rows? see `bezoar rows {name}`"
    accounting.check_conserved(f"select {name}", len(pool), len(choice.taken), counts)
    accounting.check_some(f"select {name}", len(choice.taken), len(pool), left, hint=hint)
    accounting.check_enough(
        f"select {name}", len(choice.taken), block.rows, block.max_missing_share, key=key, hint=hint
    )
    scores = [row.score for row in choice.taken if row.score is not None]
    bounds = rounded({"highest": scores[0], "lowest": scores[-1]}) if scores else None
    report = {"found": len(pool), "rows": len(choice.taken), "dropped": dropped, "failed": failed, "scores": bounds}
    with artifact(out_folder) as out:
        write_rows(out / "rows.jsonl", (pool.row(row.number)[2] for row in choice.taken))
        write_rows(out / "places.jsonl", (_place(pool, row.number) for row in choice.taken))
        write_rows(out / "scores.jsonl", (_score(pool, row) for row in choice.taken))
        write_rows(out / "dropped.jsonl", left)
        write_json(out / "report.json", report)
    logger.info(f"select {name}: {len(choice.taken):,} of {len(pool):,} rows; others {dict(sorted(counts.items()))}")


def _dropped(pool: Pool, number: int, reason: str, detail: str) -> DroppedRow:
    place, _, row = pool.row(number)
    return DroppedRow(reason=reason, detail=detail, row={"id": row.id, "place": place})


def _place(pool: Pool, number: int) -> PlaceRow:
    _, origin, row = pool.row(number)
    return PlaceRow(id=row.id, **origin)


def _score(pool: Pool, row: Ranked) -> ScoreRow:
    name = pool.key(row.number)[1]
    return ScoreRow(id=name, score=rounded(row.score), measures=rounded(row.measures))
