"""Rows for a terminal: where one is and why it was left out, its texts, and of a repeated row the one that stayed."""

import json
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import chain
from typing import Any

from pydantic import ValidationError

from bezoar.audit.chain import LeftOut, Step
from bezoar.audit.redact import without_secrets
from bezoar.jsonl import read_json_lines
from bezoar.steps.data.formats import FORMATS
from bezoar.steps.data.rows import DroppedRow, Unusable, normalized, placed_rows, row_id
from bezoar.terminal import cut
from bezoar.text import printable

WIDTH = 80
INDENT = "    "
REPEATED = "duplicate"
# The columns with texts, in the order in which they are shown.
TEXTS = (
    "system",
    "instruction",
    "context",
    "messages",
    "prompt",
    "response",
    "completion",
    "chosen",
    "rejected",
    "text",
)


def listed(rows: Iterable[LeftOut], steps: list[Step]) -> Iterator[str]:
    """Each row on two lines, or three if it repeats one whose texts are known.

    Args:
        rows: Rows of the steps.
        steps: All steps on the way to the last one, the first one first.
    """
    known = {step: Around(step, steps[:number]) for number, step in enumerate(steps)}
    for one in rows:
        around, row = known[one.step], one.dropped.row
        place = around.twin(one)
        head = ": ".join(filter(None, (one.place, one.dropped.reason, one.dropped.detail)))
        yield _line(without_secrets(f"{head}{f' (repeats {place})' if place else ''}"))
        yield INDENT + excerpt(row, around.before.get(row.get("id", "")))
        if stays := around.before.get(row.get("kept", "")):
            yield f"{INDENT}stays: {cut(stays, WIDTH - len(INDENT) - 7)}"


def excerpt(row: dict[str, Any], before: str | None = None) -> str:
    """The beginning of a row's texts, else of those that it had before the step, else all that is known, as JSON."""
    row = without_secrets(row)
    texts = "  ".join(f"{name}: {_text(row[name])}" for name in TEXTS if row.get(name))
    if not texts and before:
        return before
    return cut(_line(texts or json.dumps(row, ensure_ascii=False)), WIDTH - len(INDENT))


def _text(value: Any) -> str:
    """A text, or a dialogue with the role of each turn."""
    if isinstance(value, list) and all(isinstance(turn, dict) for turn in value):
        return " ".join(f"[{turn.get('role')}] {turn.get('content')}" for turn in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _line(text: str) -> str:
    return printable(text, lines=False)


class Around:
    """What a step's files say of its repeated rows, and of rows of which it wrote down only the ids.

    Args:
        step: The step.
        earlier: The steps before it.
    """

    def __init__(self, step: Step, earlier: list[Step]) -> None:
        self._step = step
        self._earlier = earlier

    @cached_property
    def before(self) -> dict[str, str]:
        """By id, the beginning of the texts that rows had before a mix or its certificate left them out."""
        if self._step.kind not in ("mix", "certificate"):
            return {}
        left_out = [row for path in self._step.left_out for _, row in placed_rows(path, DroppedRow)]
        wanted = {name for one in left_out for name in (one.row.get("id"), one.row.get("kept"))} - {None}
        kinds = ("mix",) if self._step.kind == "certificate" else ("source", "filter")
        paths = [path for step in self._earlier if step.kind in kinds for path in step.kept if path.is_file()]
        rows = (row for path in paths for _, row in read_json_lines(path) if isinstance(row, dict))
        return {row["id"]: excerpt(row) for row in rows if row.get("id") in wanted}

    def twin(self, one: LeftOut) -> str:
        """Where the row is that a row of this step repeats; empty if the step says so itself, or it isn't here."""
        if one.dropped.reason != REPEATED or self._step.kind not in KEYS:
            return ""
        key = self._key(one.dropped)
        return "" if key is None else self._first.get(key, "")

    def _key(self, dropped: DroppedRow) -> str | None:
        try:
            return KEYS[self._step.kind](dropped, self._format)
        except (LookupError, TypeError, AttributeError, Unusable, ValidationError):  # a row of somebody's own
            return None

    @cached_property
    def _format(self) -> str:
        """The format of a source's rows."""
        report = self._step.folders[0] / "report.json"
        return str(json.loads(report.read_text(encoding="utf-8")).get("format")) if report.is_file() else ""

    @cached_property
    def _first(self) -> dict[str, str]:
        """By key, the first row that came out of the step, or that a filter left out for another reason."""
        kept = (
            (f"{path}:{number}", DroppedRow(reason="", detail="", row=row))
            for path in self._step.kept
            for number, row in read_json_lines(path)
            if isinstance(row, dict)
        )
        judged = (one for path in self._step.left_out for one in placed_rows(path, DroppedRow))
        others = (one for one in judged if one[1].reason != REPEATED) if self._step.kind == "filter" else ()
        found: dict[str, str] = {}
        for place, row in chain(kept, others):
            if key := self._key(row):
                found.setdefault(key, place)
        return found


def _of_source(dropped: DroppedRow, form: str) -> str | None:
    """The id that a row gets by its format; a row that was taken has it."""
    if not dropped.reason:
        return str(dropped.row["id"])
    found = getattr(FORMATS[form].convert(dropped.row), "id", None)
    return None if found is None else str(found)


def _of_generated(dropped: DroppedRow, _: str) -> str:
    """An instruction; one that was left out is the detail of its reason."""
    return normalized(dropped.detail or dropped.row["instruction"])


def _of_filtered(dropped: DroppedRow, _: str) -> str:
    """The texts of a generated row."""
    row = dropped.row
    return row_id(row.get("system") or "", normalized(row["instruction"]), normalized(row["response"]))


KEYS = {"source": _of_source, "generate": _of_generated, "filter": _of_filtered}
