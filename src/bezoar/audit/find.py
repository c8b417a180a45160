"""Rows by their id, in the artifacts of all steps."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bezoar.audit.chain import Step
from bezoar.errors import InputError, problem
from bezoar.jsonl import byte_lines, from_json, read_json_lines
from bezoar.steps.data.rows import PLACE, DroppedRow

SHOWN = 5  # ids or places in a message


@dataclass(frozen=True)
class Found:
    """A row in a step's artifact.

    Attributes:
        step: The step.
        file: The file.
        line: Its line there.
        row: The row.
        reason: Why it was left out; None if it was kept.
        detail: Of the reason.
    """

    step: Step
    file: Path
    line: int
    row: dict[str, Any]
    reason: str | None = None
    detail: str = ""

    @property
    def place(self) -> str:
        """File and line."""
        return f"{self.file}:{self.line}"

    @property
    def id(self) -> str | None:
        """The row's id, if it has one: a candidate that gave no row has none."""
        name = self.row.get("id")
        return name if isinstance(name, str) else None

    @property
    def part(self) -> str:
        """The part of the step that it is in, such as a shard."""
        return self.file.parent.name


def found_rows(text: str, steps: list[Step]) -> list[Found]:
    """The row that a text names, in all steps where it is: an id, the start of one, or `file:line`.

    The file is one below `data/`, or a source's own.

    Raises:
        InputError: There is no such row, or there are several.
    """
    if (at := _at_place(text, steps)) is not None:
        return with_ids([at.id], steps) if at.id else [at]
    found = [one for step in steps for one in _in_step(step, text) if (one.id or "").startswith(text)]
    names = sorted({one.id for one in found if one.id})
    if text in names:
        return [one for one in found if one.id == text]
    if len(names) != 1:
        what = "more than one row" if names else "no row here"
        hint = "" if names else "rows of steps that aren't built here can't be found; see `bezoar rows`"
        expected = "an id, the start of one, or the FILE:LINE of a row"
        raise InputError(
            problem(f"{what} with an id that starts so", found=_some(names) or text, expected=expected, hint=hint)
        )
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def with_ids(ids: Iterable[str], steps: Iterable[Step]) -> list[Found]:
    """The rows of some ids in steps, kept and left out."""
    wanted = set(ids)
    return [one for step in steps for one in _in_step(step, *wanted) if one.id in wanted] if wanted else []


def line_at(path: Path, number: int) -> dict[str, Any] | None:
    """A row by its line; None if the file or the line isn't here."""
    if not path.is_file():
        return None
    line = next((line for at, line in byte_lines(path, str(path)) if at == number), None)
    return None if line is None else _row(line, f"{path}:{number}")


def _at_place(text: str, steps: list[Step]) -> Found | None:
    """The row at `file:line`; None if the text is no such place."""
    name, _, number = text.rpartition(":")
    if not name or not number.isdecimal():
        return None
    for step in steps:
        for path in (*step.kept, *step.left_out):
            if path == Path(name) and (row := line_at(path, int(number))) is not None:
                return _found(step, path, int(number), row)
    found = [one for step in steps if step.kind == "source" for one in _read_from(name, int(number), step)]
    if not found:
        expected = "a row in a file below data/, or a line of a source's file, as `bezoar rows` names"
        raise InputError(problem("no row there", found=text, expected=expected))
    if len(found) > 1:
        places = _some([one.place for one in found])
        raise InputError(problem("more than one row is from there", found=places, expected="one of these"))
    return found[0]


def _read_from(name: str, number: int, step: Step) -> Iterator[Found]:
    """The rows that a source took from a line of its own file, or left out."""
    for path in step.kept:
        places = path.with_name("places.jsonl")
        for at, place in read_json_lines(places) if places.is_file() else ():
            from_there = place.get("line") == number and _is_file(name, place.get("file"))
            if from_there and (row := line_at(path, at)) is not None:
                yield _found(step, path, at, row)
    for path in step.left_out:
        for at, row in read_json_lines(path) if path.is_file() else ():
            dropped = _found(step, path, at, row)
            place = PLACE.fullmatch(dropped.detail)
            if place and int(place[2]) == number and _is_file(name, place[1]):
                yield dropped


def _is_file(name: str, told: object) -> bool:
    """Whether two paths name one file; of one outside the project, the last parts of its path are enough."""
    if not isinstance(told, str):
        return False
    one, other = (os.path.relpath(os.path.expanduser(path)) for path in (name, told))
    return one == other or _ends(one, told) or _ends(other, name)


def _ends(path: str, name: str) -> bool:
    return path.startswith(os.pardir + os.sep) and path.endswith(os.sep + name)


def _in_step(step: Step, *starts: str) -> Iterator[Found]:
    """Rows of a step that may have an id with one of some starts; only lines with its letters are parsed."""
    needles = re.compile("|".join(re.escape(f'"{start}') for start in sorted(starts)).encode())
    for path in (*step.kept, *step.left_out):
        if path.is_file():
            for number, line in byte_lines(path, str(path)):
                if needles.search(line):
                    yield _found(step, path, number, _row(line, f"{path}:{number}"))


def _found(step: Step, path: Path, number: int, row: dict[str, Any]) -> Found:
    if path not in step.left_out:
        return Found(step, path, number, row)
    try:
        dropped = DroppedRow.model_validate(row)
    except ValidationError as error:
        found = str(error).split("\n")[0]
        expected = "a reason, a detail and the row"
        raise InputError(problem(f"{path}:{number}: not a dropped row", found=found, expected=expected)) from error
    return Found(step, path, number, dropped.row, dropped.reason, dropped.detail)


def _row(line: bytes, place: str) -> dict[str, Any]:
    row = from_json(line.decode("utf-8", "replace"), place)
    if not isinstance(row, dict):
        raise InputError(problem(f"{place}: not a row", found=f"{row!r:.80}", expected="a map of columns"))
    return row
