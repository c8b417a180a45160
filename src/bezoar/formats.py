"""Public row formats, and how each becomes our own row type; what can't is dropped with its reason."""

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


class Unusable(ValueError):
    """A row can't be used; the argument is the reason that it is counted under."""


Normal = Row | dict[str, Any]


def dolly(row: dict[str, Any]) -> SeedRow:
    """databricks-dolly-15k: instruction, context, response and, in the full set, a category."""
    instruction, context = row["instruction"].strip(), row["context"].strip()
    return SeedRow(
        id=row_id("dolly", instruction, context),
        instruction=_text(instruction),
        context=context or None,
        response=row["response"].strip() or None,
        category=row.get("category"),
    )


def seed_tasks(row: dict[str, Any]) -> SeedRow:
    """Self-Instruct's seed tasks: an instruction with instances of input and output, of which the first is kept."""
    instruction, instance = row["instruction"].strip(), row["instances"][0]
    return SeedRow(
        id=row_id("seed_tasks", row["id"], instruction),
        instruction=_text(instruction),
        context=instance["input"].strip() or None,
        response=instance["output"].strip() or None,
        category="classification" if row["is_classification"] else None,
    )


def flan(row: dict[str, Any]) -> SeedRow:
    """FLAN submix rows: inputs and targets with task_source, task_name and template_type."""
    query = _text(row["inputs"].strip())
    return SeedRow(
        id=row_id("flan", row["task_source"], row["task_name"], query),
        instruction=query,
        context=None,
        response=row["targets"].strip() or None,
        category=None,
        task_source=row["task_source"],
        task_name=row["task_name"],
        template_type=row["template_type"],
    )


def chat(row: dict[str, Any]) -> ChatRow:
    """Rows of system, instruction and response."""
    name = row_id("chat", row["system"] or "", row["instruction"], row["response"])
    return ChatRow(
        id=name,
        family=name,
        system=row["system"],
        instruction=_text(row["instruction"].strip()),
        response=_text(row["response"].strip()),
    )


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
    """Everything before the last assistant turn, and that turn."""
    if not transcript.startswith(HUMAN):
        raise Unusable("does not start with a human turn")
    prompt, marker, response = transcript.rpartition(ASSISTANT.rstrip(" "))
    if not marker:
        raise Unusable("no assistant turn")
    return prompt, response.strip()


def _text(text: str) -> str:
    if not text:
        raise Unusable("empty")
    return text


def _as(kind: type[Row]) -> Callable[[dict[str, Any]], Row]:
    """A format that is our row type already."""
    return lambda row: kind.model_validate(row)


FORMATS: dict[str, Callable[[dict[str, Any]], Normal]] = {
    "text": _as(TextRow),
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


def normalise(rows: Iterable[tuple[str, dict[str, Any]]], name: str) -> tuple[list[Normal], list[DroppedRow]]:
    """Rows of a format as our own rows, and what was dropped.

    Args:
        rows: Where each row stands (`path:line`), and the row.
        name: The format.

    Raises:
        ValueError: A row lacks a column of its format, or a column holds another type.
    """
    kept: list[Normal] = []
    dropped: list[DroppedRow] = []
    seen: set[str] = set()
    for place, row in rows:
        try:
            normal = FORMATS[name](row)
        except Unusable as reason:
            dropped.append(DroppedRow(reason=str(reason), detail=place, row=row))
            continue
        except (KeyError, AttributeError, TypeError, IndexError, ValidationError) as error:
            columns = ", ".join(sorted(map(str, row))) if isinstance(row, dict) else repr(row)[:80]
            raise ValueError(f"{place}: not a row of format {name}: {error!r:.300}\n  found:    {columns}") from error
        key = getattr(normal, "id", None)
        if key is not None and key in seen:
            dropped.append(DroppedRow(reason="duplicate", detail=place, row=row))
            continue
        seen.add(key or "")
        kept.append(normal)
    return kept, dropped
