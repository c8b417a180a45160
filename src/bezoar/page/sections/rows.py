"""A browser of rows: those that each step left out, by reason, and those that were kept."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bezoar.jsonl import read_json_lines
from bezoar.page.block import Page
from bezoar.page.files import rows_of_part, sources
from bezoar.page.html import Section, json_data, render, words
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.sampling import Sample, Stratum
from bezoar.page.sections.waterfall import listed
from bezoar.page.texts import reason_of, text_of, texts_of
from bezoar.steps.data.rows import DroppedRow, placed_rows, split_place

EACH = 40  # most rows of a step and a reason
BUDGET = 1_000_000  # bytes of all rows
KEPT = "kept"
SPLITS = ("train", "eval")
# What steps say of a row besides its texts, and how it is called.
FACTS = {
    "status": "verdict",
    "rating": "rating",
    "reason": "the judge says",
    "operation": "operation",
    "round": "round",
    "category": "category",
    "part": "part",
    "split": "split",
    "kept": "the row that stayed",
    "similarity": "similarity",
}


class Step(NamedTuple):
    """A step, and the files with its rows.

    Attributes:
        kept: Rows that came out of it, if no later step shows them.
        left_out: Rows that it left out.
        before: Rows that it read, if it writes down only the ids of those that it left out.
    """

    kind: str
    name: str
    kept: list[str]
    left_out: list[str]
    before: list[str]

    @property
    def label(self) -> str:
        """As `bezoar rows` calls it."""
        return f"{self.kind} {self.name}"


class Row(NamedTuple):
    """A row that a step kept or left out.

    Attributes:
        place: File and line.
        detail: What the step says of it.
        row: Its columns.
        reason: Why it was left out; empty if it was kept.
    """

    place: str
    detail: str
    row: dict[str, Any]
    reason: str = ""

    @property
    def id(self) -> str:
        """Its id; empty for a row that never had one."""
        found = self.row.get("id")
        return found if isinstance(found, str) else ""


class Tally(NamedTuple):
    """How many rows of a step have one outcome, and how many of them the page has."""

    step: str
    outcome: str
    rows: int
    shown: int


def section(inputs: Inputs) -> Section | None:
    """The browser; None for a recipe without rows."""
    steps = {step.label: step for step in steps_of(inputs.page)}
    sample = sample_of(steps.values())
    if not sample.counts:
        return None
    artifacts = [inputs.artifact(path) for step in steps.values() for path in (*step.kept, *step.left_out)]
    texts = _texts(sample, steps)
    found = sample.take(BUDGET, lambda stratum, row: shown(stratum, row, texts.get((stratum[0], row.id), {})))
    counts = [Tally(step, outcome, sample.counts[step, outcome], len(rows)) for (step, outcome), rows in found.items()]
    rows = [row for rows in found.values() for row in rows]
    data = {"counts": [one._asdict() for one in counts], "files": _files(artifacts, rows), "rows": rows}
    body = render(
        "rows.html.j2",
        counts=counts,
        total=sample.counts.total(),
        shown=len(rows),
        each=EACH,
        cut=sample.size() - len(rows),
        artifacts=[one for one in artifacts if one.size],
        data=json_data("rows-data", data),
    )
    return Section("rows", "Rows that were kept and left out", body)


def steps_of(page: Page) -> list[Step]:
    """The steps of all rows, in the order of `bezoar rows`."""
    shards = page.shard_names()
    steps = [Step("source", name, [], [f"data/source/{name}/dropped.jsonl"], []) for name in sources(page)]
    for name in page.made():
        steps.append(Step("generate", name, [], [f"data/generated/{name}/{one}/dropped.jsonl" for one in shards], []))
    for name in page.filters:
        kept, rejected = (
            [f"data/filtered/{name}/{shard}/{file}.jsonl" for shard in shards] for file in (KEPT, "rejected")
        )
        steps.append(Step("filter", name, kept, rejected, []))
    for name in page.scores:
        steps.append(Step("score", name, [], [f"data/scored/{name}/{one}/dropped.jsonl" for one in shards], []))
    for name in page.pairs:
        kept, dropped = ([f"data/pairs/{name}/{one}/{file}.jsonl" for one in shards] for file in ("rows", "dropped"))
        steps.append(Step("pairs", name, kept, dropped, []))
    for name, part in page.selections.items():
        kept, dropped = ([f"data/selected/{name}/{file}.jsonl"] for file in ("rows", "dropped"))
        steps.append(Step("select", name, kept, dropped, rows_of_part(page, part)))
    for name, parts in page.mixes.items():
        before = [path for part in parts for path in rows_of_part(page, part)]
        steps.append(Step("mix", name, [], [f"data/mixes/{name}/dropped.jsonl"], before))
        mixed, certified = (
            [f"data/{folder}/{name}/{one}.jsonl" for one in SPLITS] for folder in ("mixes", "certified")
        )
        steps.append(Step("certificate", name, certified, [f"data/certified/{name}/dropped.jsonl"], mixed))
    return steps


def sample_of(steps: Iterable[Step]) -> Sample[Row]:
    """Rows of each step by outcome; rare reasons are one, since a judge may give each row a reason of its own."""
    sample: Sample[Row] = Sample(EACH)
    for step in steps:
        reasons = Counter(reason_of(row.reason) for path in step.left_out for _, row in placed_rows(path, DroppedRow))
        outcomes = listed(reasons)
        rest = next((one for one in outcomes if one not in reasons), "other reasons")
        for reason, row in _rows(step):
            outcome = reason if reason == KEPT or reason in outcomes else rest
            key = row.id or json.dumps(row.row, sort_keys=True)
            sample.add((step.label, outcome), key, row.place, row)
    return sample


def _rows(step: Step) -> Iterator[tuple[str, Row]]:
    """Each row with its outcome: kept, or the reason why it was left out."""
    for path in step.left_out:
        for place, row in placed_rows(path, DroppedRow):
            yield reason_of(row.reason), Row(place, row.detail, row.row, row.reason)
    for path in step.kept:
        for number, content in read_json_lines(path):
            if isinstance(content, dict):
                yield KEPT, Row(f"{path}:{number}", "", content)


def _texts(sample: Sample[Row], steps: dict[str, Step]) -> dict[tuple[str, str], dict[str, Any]]:
    """By step and id, the columns of rows of which a step wrote down only the ids."""
    wanted: dict[str, set[str]] = {}
    for (label, outcome), row in sample.drawn():
        if steps[label].before and outcome != KEPT and row.id:
            wanted.setdefault(label, set()).add(row.id)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for label, ids in wanted.items():
        for path in steps[label].before:
            for _, row in read_json_lines(path):
                if isinstance(row, dict) and row.get("id") in ids:
                    found.setdefault((label, row["id"]), row)
    return found


def shown(stratum: Stratum, row: Row, before: dict[str, Any]) -> dict[str, Any]:
    """A row as the page has it.

    Args:
        stratum: Step and outcome.
        row: The row.
        before: Its columns before the step, if the step wrote down only its id.
    """
    path, line, _ = split_place(row.place)
    known = {label: row.row.get(name) for name, label in FACTS.items()}
    facts = [[label, text_of(value).text] for label, value in known.items() if value not in (None, "")]
    if row.detail and row.detail != row.row.get("reason"):
        facts.insert(0, ["detail", text_of(row.detail).text])
    texts = [[label, *text] for label, text in texts_of(before | row.row)]
    step, outcome = stratum
    if row.reason and reason_of(row.reason) != outcome:
        facts.insert(0, ["left out for", text_of(row.reason).text])
    place = {"step": step, "outcome": outcome, "id": words(row.id), "file": path, "line": line}
    return {**place, "facts": facts, "texts": texts}


def _files(artifacts: list[Artifact], rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """By path of the rows' files, its place on the page and the first digits of its digest."""
    named = {row["file"] for row in rows}
    return {one.path: [one.anchor, one.short] for one in artifacts if one.path in named}
