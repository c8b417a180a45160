"""Public row formats, and how each becomes our own row type; what can't is dropped with its reason."""

import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError

from bezoar.chat import ASSISTANT, HUMAN
from bezoar.rows import (
    AnswerRow,
    ChatRow,
    DroppedRow,
    JudgePromptRow,
    PreferenceRow,
    QuestionRow,
    Row,
    SeedRow,
    TextRow,
    row_id,
)
from bezoar.text import replace_surrogates

TEMPLATES = ("zs_opt", "zs_noopt", "fs_opt", "fs_noopt")  # as rows spell them; names of mixtures say zsopt
FURTHER = "further instance"  # a seed task may have several, and its first is taken
SURROGATES = "halves of surrogate pairs, now U+FFFD"
NO_NUMBERS = "numbers that are not finite, now null"


class Unusable(ValueError):
    """A row can't be used; the argument is the reason that it is counted under."""


Normal = Row | dict[str, Any]


def dolly(row: dict[str, Any]) -> SeedRow:
    """databricks-dolly-15k: instruction, context, response and, in the full set, a category."""
    instruction, context = _text(row, "instruction"), _optional(row, "context")
    return SeedRow(
        id=row_id("dolly", instruction, context or ""),
        instruction=instruction,
        context=context,
        response=_optional(row, "response"),
        category=_optional(row, "category"),
    )


def seed_tasks(row: dict[str, Any]) -> SeedRow:
    """Self-Instruct's seed tasks: an instruction with instances of input and output, of which the first is kept."""
    instruction, instance = _text(row, "instruction"), row["instances"][0]
    return SeedRow(
        id=row_id("seed_tasks", row["id"], instruction),
        instruction=instruction,
        context=_optional(instance, "input"),
        response=_optional(instance, "output"),
        category="classification" if row.get("is_classification") else None,
    )


def flan(row: dict[str, Any]) -> SeedRow:
    """FLAN submix rows: inputs and targets with task_source, task_name and template_type."""
    query = _text(row, "inputs")
    if row["template_type"] not in TEMPLATES:
        raise Unusable(f"template_type is none of {', '.join(TEMPLATES)}")
    return SeedRow(
        id=row_id("flan", row["task_source"], row["task_name"], query),
        instruction=query,
        context=None,
        response=_optional(row, "targets"),
        category=None,
        task_source=row["task_source"],
        task_name=row["task_name"],
        template_type=row["template_type"],
    )


def text(row: dict[str, Any]) -> TextRow:
    """Rows of a text; other columns are passed over."""
    if not _text(row, "text"):
        raise Unusable("empty")
    return TextRow(text=row["text"])


def chat(row: dict[str, Any]) -> ChatRow:
    """Rows of system, instruction and response; a row without system is one whose system is null."""
    system, instruction, response = row.get("system"), _text(row, "instruction"), _text(row, "response")
    name = row_id("chat", system or "", row["instruction"], row["response"])
    return ChatRow(id=name, family=name, system=system, instruction=instruction, response=response)


def hh_rlhf(row: dict[str, Any]) -> PreferenceRow:
    """HH-RLHF: two transcripts that share everything up to their last assistant turn."""
    prompt, chosen = _last_turn(row["chosen"])
    other, rejected = _last_turn(row["rejected"])
    if prompt != other:
        raise Unusable("prompts differ")
    if not chosen or not rejected:
        raise Unusable("empty response")
    if chosen == rejected:
        raise Unusable("chosen equals rejected")
    exchanges = [exchange.split(ASSISTANT) for exchange in prompt.split(HUMAN)[1:]]
    if [len(exchange) for exchange in exchanges] != [2] * (len(exchanges) - 1) + [1]:
        raise Unusable("speakers do not alternate")
    turns = [turn for exchange in exchanges for turn in exchange]
    return PreferenceRow(id=row_id("hh_rlhf", prompt, chosen, rejected), turns=turns, chosen=chosen, rejected=rejected)


def _last_turn(transcript: str) -> tuple[str, str]:
    """Everything before the last assistant turn, and that turn; lines may end as they do on Windows."""
    transcript = transcript.replace("\r\n", "\n")
    if not transcript.startswith(HUMAN):
        raise Unusable("does not start with a human turn")
    prompt, marker, response = transcript.rpartition(ASSISTANT.rstrip(" "))
    if not marker:
        raise Unusable("no assistant turn")
    if HUMAN.rstrip(" ") in response:
        raise Unusable("ends with a human turn")
    return prompt, response.strip()


def _text(row: dict[str, Any], column: str) -> str:
    """A column's text without white space around it.

    Raises:
        Unusable: It is absent, null, no text, or empty.
    """
    found = _optional(row, column)
    if found is None:
        raise Unusable("empty" if isinstance(row.get(column), str) else f"no {column}")
    return found


def _optional(row: dict[str, Any], column: str) -> str | None:
    """A column's text without white space around it; None where it is absent, null or empty.

    Raises:
        Unusable: It holds something else.
    """
    found = row.get(column)
    if found is not None and not isinstance(found, str):
        raise Unusable(f"{column} is no text")
    return (found or "").strip() or None


def _as(kind: type[Row]) -> Callable[[dict[str, Any]], Row]:
    """A format that is our row type already."""
    return lambda row: kind.model_validate(row)


FORMATS: dict[str, Callable[[dict[str, Any]], Normal]] = {
    "text": text,
    "chat": chat,
    "dolly": dolly,
    "seed_tasks": seed_tasks,
    "flan": flan,
    "hh_rlhf": hh_rlhf,
    "questions": _as(QuestionRow),
    "references": _as(AnswerRow),
    "judge_prompts": _as(JudgePromptRow),
    "items": lambda row: row,
}


def normalise(
    rows: Iterable[tuple[str, Any]], name: str, replaced: dict[str, list[str]] | None = None
) -> tuple[list[Normal], list[DroppedRow]]:
    """Rows of a format as our own rows, and what was dropped: a row that doesn't fit stops no other.

    Args:
        rows: Where each row stands (`path:line`), and the row.
        name: The format.
        replaced: Takes the place of everything that no file can hold and was replaced, by what it was.
    """
    kept: list[Normal] = []
    dropped: list[DroppedRow] = []
    seen: set[str] = set()
    places = {} if replaced is None else replaced
    for place, found in rows:
        row: Any = None
        try:
            row, changes = _written(found)
            for what in changes:
                places.setdefault(what, []).append(place)
            normal = _normal(row, name)
        except Unusable as reason:
            dropped.append(_dropped(str(reason), place, row))
            continue
        if name == "seed_tasks":
            dropped += [_dropped(FURTHER, place, one) for one in row["instances"][1:]]
        key = getattr(normal, "id", None)
        if key is not None and key in seen:
            dropped.append(_dropped("duplicate", place, row))
            continue
        seen.add(key or "")
        kept.append(normal)
    return kept, dropped


def _normal(row: Any, name: str) -> Normal:
    """One row of a format as our own.

    Raises:
        Unusable: It isn't a row of the format, or has nothing to learn from.
    """
    if not isinstance(row, dict):
        raise Unusable("not a row of columns")
    try:
        return FORMATS[name](row)
    except KeyError as error:
        raise Unusable(f"no {error.args[0]}") from error
    except ValidationError as error:
        place = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        raise Unusable(f"'{place}' does not fit") from error
    except (AttributeError, TypeError, IndexError) as error:
        raise Unusable("a column is of another type") from error


def _dropped(reason: str, place: str, row: Any) -> DroppedRow:
    return DroppedRow(reason=reason, detail=place, row=row if isinstance(row, dict) else {"value": row})


def _written(row: Any) -> tuple[Any, list[str]]:
    """A row as it can be written, and what was replaced in it.

    Raises:
        Unusable: It can't be written.
    """
    try:
        return plain(row)
    except RecursionError as error:
        raise Unusable("nested too deeply") from error
    except TypeError as error:
        raise Unusable(str(error)) from error


def _plain_all(values: Iterable[Any]) -> tuple[list[Any], list[str]]:
    found = [plain(value) for value in values]
    return [value for value, _ in found], [what for _, changes in found for what in changes]


def plain(value: Any) -> tuple[Any, list[str]]:
    """A row as JSON knows it, and what was replaced in it, each thing once.

    Tables have columns of dates, decimals and bytes; a number that isn't one (NaN), or isn't finite, is null.

    Raises:
        TypeError: It holds what JSON has no form for, such as a picture.
        RecursionError: It is nested too deeply.
    """
    match value:
        case str():
            text, halves = replace_surrogates(value)
            return text, [SURROGATES] * halves
        case float() if not math.isfinite(value):
            return None, [NO_NUMBERS]
        case dict():
            keys, ones = _plain_all(map(str, value)), _plain_all(value.values())
            return dict(zip(keys[0], ones[0], strict=True)), keys[1] + ones[1]
        case list() | tuple() | set():
            return _plain_all(value)
        case datetime.date() | datetime.time():  # a datetime is a date, too
            return value.isoformat(), []
        case bytes():
            return value.decode("utf-8", errors="replace"), []
        case decimal.Decimal() | uuid.UUID() | datetime.timedelta():
            return str(value), []
        case None | int() | float():  # a bool is an int, too
            return value, []
    raise TypeError(f"a value of type {type(value).__name__}")
