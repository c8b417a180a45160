"""A stratified sample of a filter's rows for people to label, and their labels read back.

People see texts alone, in random order: a verdict beside a text would lead them. What the filter said, and how many
rows each stratum has, is in a file beside the sheet.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bezoar.audit.chain import Step
from bezoar.audit.export import BOM, cell
from bezoar.audit.redact import without_secrets
from bezoar.errors import InputError, problem
from bezoar.files import whole
from bezoar.steps.data.readers import read_table
from bezoar.steps.data.rows import DroppedRow, FilteredRow, placed_rows, rank
from bezoar.steps.filter.judge import OVER_QUOTA

KEPT = "kept"
COLUMNS = ("row", "system", "instruction", "response", "verdict", "note")
PREFIX = "id:"  # before an id, which a spreadsheet might take for a number
LONGEST = 32_000  # characters of a cell; spreadsheets cut at 32,767
VERDICTS = {"accept": True, "reject": False, "unsure": None}
FEWEST = 2  # rows of a stratum, if it has as many
MOST_PROBLEMS = 5  # in a message


class Stratum(BaseModel):
    """Rows with one verdict: those that were kept, or those that were rejected for one reason."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    rows: Annotated[int, Field(ge=1)]
    sampled: list[str] = Field(description="Ids.")

    @property
    def kept(self) -> bool:
        """Whether the filter kept its rows."""
        return self.name == KEPT


class Sample(BaseModel):
    """What was drawn of a filter's rows."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    filter: str
    seed: int
    strata: list[Stratum]

    def stratum_of(self) -> dict[str, Stratum]:
        """By id of a drawn row, its stratum."""
        return {name: one for one in self.strata for name in one.sampled}


@dataclass(frozen=True)
class Labels:
    """A person's verdicts: true for accept, None for unsure. Rows without a verdict aren't here."""

    path: Path
    verdicts: dict[str, bool | None]


def beside(sheet: Path) -> Path:
    """The file with the sample that a sheet shows."""
    return sheet.with_suffix(".sample.json")


def draw(step: Step, rows: int, seed: int) -> tuple[Sample, dict[str, dict[str, Any]]]:
    """Draw rows of a filter, half of them kept ones and half rejected ones; and their texts by id.

    Within a stratum, rows are drawn by a hash of seed and id, so a larger sample contains a smaller one of the same
    strata. Files are read twice, and only drawn rows are held in memory.

    Raises:
        InputError: The filter has no rows here, or has kept or rejected none.
    """
    ranks: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seen = set()  # two shards may hold the same row
    for stratum, row in judged(step):
        if row["id"] not in seen:
            seen.add(row["id"])
            ranks[stratum].append((rank(seed, "label", row["id"]), row["id"]))
    if KEPT not in ranks or len(ranks) < 2:
        found = ", ".join(f"{len(ids):,} {name}" for name, ids in ranks.items()) or "no row"
        what, expected = f"filter {step.name}: nothing to compare", "rows that it kept, and rows that it rejected"
        raise InputError(problem(what, found=found, expected=expected))
    wanted = shares({name: len(ids) for name, ids in ranks.items()}, rows)
    strata = [
        Stratum(name=name, rows=len(ids), sampled=[one for _, one in sorted(ids)[: wanted[name]]])
        for name, ids in sorted(ranks.items())
    ]
    chosen = {name for one in strata for name in one.sampled}
    texts: dict[str, dict[str, Any]] = {}
    for _, row in judged(step):
        if row["id"] in chosen:
            texts.setdefault(row["id"], row)
    return Sample(filter=step.name, seed=seed, strata=strata), texts


def shares(sizes: dict[str, int], rows: int) -> dict[str, int]:
    """How many rows to draw of each stratum: half are kept ones, and reasons share the other half by size.

    Each reason gives FEWEST or all of its rows, so there may be a few more than wanted. What one half lacks, the other
    gives.
    """
    kept = min(sizes[KEPT], max(rows - rows // 2, rows - sum(sizes.values()) + sizes[KEPT]))
    others = {name: size for name, size in sizes.items() if name != KEPT}
    left, total, found = rows - kept, sum(others.values()), {KEPT: kept}
    for name, size in sorted(others.items(), key=lambda one: (one[1], one[0])):  # small ones first
        found[name] = min(size, max(FEWEST, round(left * size / total)))
        left, total = max(0, left - found[name]), total - size
    return found


def write_sheet(sample: Sample, texts: dict[str, dict[str, Any]], sheet: Path) -> None:
    """Write a sheet for people, and the sample beside it.

    Raises:
        InputError: A file is there: it may hold somebody's labels.
    """
    for path in (sheet, beside(sheet)):
        if path.exists():
            hint = "--out names another file; remove this one if nobody's work is in it"
            raise InputError(problem(f"{path} would be replaced", found="a file", expected="none", hint=hint))
    sheet.parent.mkdir(parents=True, exist_ok=True)
    with whole(sheet) as partial, partial.open("w", encoding=BOM, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for name in sorted(texts, key=lambda one: rank(sample.seed, "sheet", one)):
            row = texts[name]
            shown = [_cell(row.get(column) or "") for column in COLUMNS[1:4]]
            writer.writerow([f"{PREFIX}{name}", *shown, "", ""])
    with whole(beside(sheet)) as partial:
        partial.write_text(sample.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_sample(path: Path, filter_name: str) -> Sample:
    """The sample that sheets show.

    Raises:
        InputError: There is none, or it is one of another filter.
    """
    try:
        sample = Sample.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        hint = "`bezoar label` wrote it beside the sheet; --sample names it"
        raise InputError(problem(f"{path}: no such file", found="none", expected="the sample", hint=hint)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "all of it"
        raise InputError(problem(f"{path}: not a sample", found=place, expected=first["msg"])) from error
    if sample.filter != filter_name:
        raise InputError(problem(f"{path}: of another filter", found=sample.filter, expected=filter_name))
    return sample


def read_sheet(sheet: Path, sample: Sample) -> Labels:
    """A person's labels in a sheet, as spreadsheets save it.

    Raises:
        InputError: It isn't a sheet of this sample; the message has the first rows that don't fit, with their lines.
    """
    known, verdicts, problems = sample.stratum_of(), dict[str, bool | None](), list[str]()
    seen: Counter[str] = Counter()
    for place, row in read_table(sheet, str(sheet)):
        name, verdict = (str(row.get(column) or "").strip() for column in ("row", "verdict"))
        name = name.removeprefix(PREFIX)
        seen[name] += 1
        if name not in known:
            problems.append(f"{place}: row {name or 'without an id'}: not in the sample")
        elif seen[name] > 1:
            problems.append(f"{place}: row {name}: twice in the sheet")
        elif verdict.casefold() in VERDICTS:
            verdicts[name] = VERDICTS[verdict.casefold()]
        elif verdict:
            problems.append(f"{place}: row {name}: verdict {verdict[:40]!r}")
    if problems:
        found = "\n            ".join(problems[:MOST_PROBLEMS])
        more = f"\n            and {len(problems) - MOST_PROBLEMS:,} more" if len(problems) > MOST_PROBLEMS else ""
        expected = f"each row of the sample once, with verdict {', '.join(VERDICTS)}, or empty"
        raise InputError(problem(f"{sheet}: not labels of this sample", found=found + more, expected=expected))
    if not verdicts:
        raise InputError(problem(f"{sheet}: no labels", found="no verdict", expected=", ".join(VERDICTS)))
    return Labels(sheet, verdicts)


def judged(step: Step) -> Iterator[tuple[str, dict[str, Any]]]:
    """Stratum and content of each row that the filter decided about."""
    for path in step.kept:
        for _, kept in placed_rows(path, FilteredRow):
            yield KEPT, kept.model_dump()
    for path in step.left_out:
        for place, dropped in placed_rows(path, DroppedRow):
            if dropped.reason != OVER_QUOTA:
                if not isinstance(dropped.row.get("id"), str):
                    raise InputError(problem(f"{place}: a row without an id", found=dropped.reason, expected="an id"))
                yield dropped.reason, dropped.row


def _cell(text: str) -> str:
    """A text as a cell; without keys and tokens, since sheets are committed."""
    text = without_secrets(text)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]} [… {len(text) - LONGEST:,} more characters: bezoar trace shows them]"
    return cell(text)
