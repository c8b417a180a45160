"""Mix kept rows and sources into one training set of dialogues in TRL's columns, with an eval split of whole families.

A mix holds messages: the chat template of a model renders them only where it is trained.

A part's rows are taken in the order of a hash of seed and row id, so that a smaller set is a subset of a larger one. No
eval row shares a family with train rows of this mix or of an earlier one. Earlier mixes are those of all stages that a
stage on this mix starts from, directly or not.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from bezoar.blocks import Block, Licence, Name, NamedBlock, Share
from bezoar.errors import InputError, problem
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.steps.data import accounting, rows
from bezoar.steps.data.cleaning import Cleaner, Cleaning
from bezoar.steps.data.examples import Example, Limit, Window, example_of, key_of
from bezoar.steps.data.formats.common import MixFormat
from bezoar.steps.data.rows import Unusable
from bezoar.steps.data.split import split, trained_before


class Part(Block):
    """One ingredient of a mix: the kept rows of a scheme, or a source; its name alone means all of its rows."""

    name: Name
    kind: Literal["scheme", "source"] | None = Field(
        None, description="Null takes what the filter of this name keeps, or the source if there is no such filter."
    )
    rows: int | None = Field(None, ge=1, description="Rows drawn without replacement; null takes all.")

    @model_validator(mode="before")
    @classmethod
    def _of_name(cls, data: Any) -> Any:
        return {"name": data} if isinstance(data, str) else data


class Mix(NamedBlock):
    """A training set in TRL's conversational columns."""

    section: ClassVar[str] = "mixes"
    rules: ClassVar[tuple[str, ...]] = ("mix", "certificate", "certified", "clearance", "dataset")

    format: MixFormat = "prompt_completion"
    parts: list[Part] = Field(min_length=1)
    eval_rows: int = Field(
        50,
        ge=1,
        description="Rows to hold out, in whole families that no earlier stage trained on.",
    )
    limit: Limit | None = None
    cleaning: Cleaning = Cleaning()
    max_missing_share: Share = Field(
        0.75, description="Share of `rows` and `eval_rows` that may be missing; with 1, a part may be empty."
    )
    max_dropped_share: Share = Field(
        0.5, description="Share of a part's rows that may be duplicates, have no response, or be empty after the cut."
    )
    licence: Licence | None = Field(
        None,
        description="Licence under which it is published; null for those of its rows.",
    )


Placed = tuple[str, dict[str, Any], Any]  # a row's place, the file and line that it is from, and the row


@dataclass(frozen=True)
class Folders:
    """The folders with rows of schemes and sources."""

    filtered: Path
    source: Path
    shards: int


def files_of(part: Part, folders: Folders) -> list[Path]:
    """The files with a part's rows."""
    if part.kind is None:
        raise InputError(
            problem(
                f"part {part.name}: neither a scheme nor a source",
                found="no kind",
                expected="kind: scheme or kind: source, as the whole recipe says",
                hint="`bezoar recipe show` prints the whole recipe",
            )
        )
    if part.kind == "scheme":
        return [folders.filtered / part.name / f"{shard:04d}" / "kept.jsonl" for shard in range(folders.shards)]
    return [folders.source / part.name / "rows.jsonl"]


def placed_rows(part: Part, folders: Folders, block: Mix) -> Iterator[Placed]:
    """Each row of a part with its place, and with the file and line that it is from.

    Raises:
        ValueError: A file isn't rows of this mix, or a source has other places than rows.
    """
    for path in files_of(part, folders):
        placed = rows.placed_rows(path, type_of(path, block))
        if part.kind == "scheme":
            for place, row in placed:
                yield place, dict(zip(("file", "line"), rows.split_place(place)[:2], strict=True)), row
            continue
        places = rows.read_rows(path.with_name("places.jsonl"), rows.PlaceRow)
        for (place, row), origin in zip(placed, places, strict=True):
            yield place, origin.model_dump(exclude={"id"}, exclude_none=True), row


def type_of(path: Path, block: Mix) -> type[rows.Row]:
    """The type of a part's rows.

    Raises:
        ValueError: No mix takes such rows, or this preference mix doesn't.
    """
    found = rows.row_type(path)
    if block.format == "preference" and found is not rows.PreferenceRow and path.stat().st_size:
        raise ValueError(
            problem(f"{path}: no preferences", found=found.__name__, expected="preferences, for a mix of this format")
        )
    return found


@dataclass
class Draw:
    """Examples of all parts so far, without duplicate texts, and the rows that gave none, with their reasons."""

    block: Mix
    system: str | None
    window: "Window | None"
    seed: int
    examples: list[Example] = field(default_factory=list)
    dropped: list[rows.DroppedRow] = field(default_factory=list)
    origins: list[dict[str, Any]] = field(default_factory=list)  # of each example
    places: dict[str, str] = field(default_factory=dict)  # of each example, by the hash of its texts

    def __post_init__(self) -> None:
        self.cleaner = Cleaner(self.block.cleaning)

    def take(self, part: Part, found: list[Placed]) -> dict[str, Any]:
        """Take a part's rows in the order of a hash of seed and id, until there are enough; returns their number.

        The next row replaces a row that gives no example, so only rows that are taken or dropped are cut. The list is
        emptied on the way, to free the memory of rows.
        """
        before, taken, number = len(self.dropped), 0, len(found)
        found.sort(key=lambda one: rows.rank(self.seed, one[2].id))
        found.reverse()
        while found and taken != part.rows:
            taken += self._add(part, *found.pop())
        counts: dict[str, Any] = {"kind": part.kind, "name": part.name, "asked": part.rows, "found": number}
        return counts | {
            "taken": taken,
            "dropped": rows.reasons_of(self.dropped[before:]),
            "not_drawn": len(found),
        }

    def _add(self, part: Part, place: str, origin: dict[str, Any], row: Any) -> bool:
        """Whether a row is taken."""
        cuts = Counter(self.window.cuts) if self.window else Counter()
        try:
            example = example_of(self.cleaner(row), self.block.format == "preference", self.system, self.window)
            texts = key_of(example)
            if texts in self.places:
                place = f"{place} repeats {self.places[texts]}"
                raise Unusable("duplicate")
        except Unusable as reason:
            self.dropped.append(rows.DroppedRow(reason=str(reason), detail=place, row={"id": row.id}))
            if self.window:
                self.window.cuts = cuts  # rows that aren't taken aren't cut
            return False
        self.places[texts] = place
        self.examples.append(example)
        scheme = part.name if part.kind == "scheme" else None
        self.origins.append({"part": part.name, "kind": part.kind, "scheme": scheme, **origin})
        return True


def mixed(
    block: Mix, folders: Folders, system: str | None, window: Window | None, seed: int, name: str
) -> tuple[Draw, dict[str, Any]]:
    """All parts without duplicates, with the dropped rows; and counts of each part's rows.

    This is the first step that sees all shards of a scheme: a scheme without any row left is an error here.

    Raises:
        ValueError: A part gives no row, too few rows or too few usable ones by the mix's bounds, or rows got lost.
    """
    draw = Draw(block, system, window, seed)
    parts = []
    for part in block.parts:
        found = list(placed_rows(part, folders, block))
        before = len(draw.dropped)
        counts = draw.take(part, found)
        check_part(f"mix {name}: {part.kind} {part.name}", f"mixes.{name}", block, counts, draw.dropped[before:])
        parts.append(counts)
    report = {
        "parts": parts,
        "dropped": rows.reasons_of(draw.dropped),
        "cleaned": dict(sorted(draw.cleaner.counts.items())),
    }
    return draw, report


def origins(draw: Draw, splits: dict[str, list[Example]]) -> Iterator[dict[str, Any]]:
    """Where each example of both splits is from, in their order."""
    known = {id(example): origin for example, origin in zip(draw.examples, draw.origins, strict=True)}
    for name, examples in splits.items():
        for one in examples:
            yield {"id": one["id"], "split": name, **known[id(one)], "family": one["family"], "cluster": None}


def check_part(step: str, key: str, block: Mix, counts: dict[str, Any], dropped: list[rows.DroppedRow]) -> None:
    """Check that a part gives enough rows; log a shortfall within the mix's bounds.

    Raises:
        ValueError: It gives no row, or too few, or too many of its rows are dropped, or rows got lost.
    """
    taken, looked_at = counts["taken"], counts["taken"] + len(dropped)
    hint = "is it the right part, with the right rows?"
    if counts["kind"] == "scheme":
        hint = "dropped.jsonl below data/generated, and rejected.jsonl below data/filtered, say what became of its rows"
    accounting.check_conserved(step, counts["found"], taken, counts["dropped"] | {"not drawn": counts["not_drawn"]})
    if block.max_missing_share < 1:
        accounting.check_some(step, taken, looked_at, dropped, hint=hint)
    bound, missing = f"{key}.max_dropped_share", f"{key}.max_missing_share"
    accounting.check_dropped(step, looked_at, dropped, block.max_dropped_share, key=bound, hint=hint)
    accounting.check_enough(step, taken, counts["asked"] or 0, block.max_missing_share, key=missing, hint=hint)


def check_split(name: str, block: Mix, examples: int, train: int, held: int) -> None:
    """Check that enough rows are held out and none got lost.

    Raises:
        ValueError: Too few are held out, or rows got lost.
    """
    accounting.check_conserved(f"mix {name}", examples, train + held, {})
    step, key = f"mix {name}: rows to evaluate", f"mixes.{name}.max_missing_share"
    hint = (
        "only families that no earlier stage trained on can be held out: hold out more there, take more rows, or ask "
        "for less"
    )
    accounting.check_some(step, held, 0, [], hint=hint)
    accounting.check_enough(step, held, block.eval_rows, block.max_missing_share, key=key, hint=hint)


def write_mix(
    block: Mix,
    folders: Folders,
    window: Window | None,
    earlier: list[Path],
    system: str | None,
    seed: int,
    out_folder: Path,
) -> None:
    """Draw a mix, split it, and write both splits, where their rows are from, and the dropped rows."""
    name = out_folder.name
    draw, report = mixed(block, folders, system, window, seed, name)
    train, held = split(draw.examples, block.eval_rows, seed, trained_before(earlier))
    check_split(name, block, len(draw.examples), len(train), len(held))
    report |= {"train": len(train), "eval": len(held), "cut": dict(window.cuts) if window else {}}
    with artifact(out_folder) as out:
        rows.write_rows(out / "train.jsonl", train)
        rows.write_rows(out / "eval.jsonl", held)
        rows.write_rows(out / "dropped.jsonl", draw.dropped)
        rows.write_rows(out / "origins.jsonl", origins(draw, {"train": train, "eval": held}))
        write_json(out / "report.json", report)
    logger.info(f"mix {name}: {len(train):,} rows to train on, {len(held):,} to evaluate; {report}")
