"""A chosen and a rejected answer: as texts beside a prompt, or as messages, which may contain the prompt."""

import math
from typing import Any

from bezoar.steps.data.formats.common import Format, MixFormat, check_pair, text_in
from bezoar.steps.data.formats.hh_rlhf import is_transcript
from bezoar.steps.data.formats.turns import TOOLS, are_turns, messages_in, under_system
from bezoar.steps.data.rows import PAIR_NUMBERS, Message, PreferenceRow, Unusable, dialogue, row_id


def convert(row: dict[str, Any]) -> PreferenceRow:
    """A dialogue with two answers; both columns have one answer each, after the same messages or none."""
    prompt = _prompt(row)
    (before, chosen), (other, rejected) = _answer(row, "chosen"), _answer(row, "rejected")
    if before != other:
        raise Unusable("prompts differ")
    check_pair(chosen, rejected)
    if before[: len(prompt)] != prompt and before and isinstance(row.get("prompt"), list):
        raise Unusable("the messages do not start with the prompt")
    messages = under_system(row, before or prompt)
    name = row_id("preference", *(text for one in messages for text in (one.role, one.content)), chosen, rejected)
    numbers = {one: _number(row, one) for one in PAIR_NUMBERS}
    return PreferenceRow(
        id=name, messages=messages, chosen=chosen, rejected=rejected, gold=_gold(row, before), **numbers
    )


def _gold(row: dict[str, Any], before: list[Message]) -> str | None:
    """The best answer, if there is one, after the same messages as the others."""
    if row.get("gold") in (None, "", []):
        return None
    own, gold = _answer(row, "gold")
    if own != before:
        raise Unusable("prompts differ")
    if not gold:
        raise Unusable("empty response")
    return gold


def _number(row: dict[str, Any], column: str) -> float | None:
    """A number, if there is one; a win rate is a share."""
    found = row.get(column)
    if found is None or (isinstance(found, str) and not found.strip()):
        return None
    try:
        number = math.nan if isinstance(found, bool) else float(found)  # a cell of a CSV file is text
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Unusable(f"{column} is not a number")
    if column.startswith("win_rate") and not 0 <= number <= 1:
        raise Unusable(f"{column} is not between 0 and 1")
    return number


def _prompt(row: dict[str, Any]) -> list[Message]:
    """The messages of the column `prompt`, if there is one."""
    if isinstance(row.get("prompt"), list):
        return messages_in({"prompt": row["prompt"]}, "prompt")
    return dialogue(text_in(row, "prompt")) if "prompt" in row else []


def _answer(row: dict[str, Any], column: str) -> tuple[list[Message], str]:
    """The messages before the last one, which is the answer."""
    found = row[column]
    if isinstance(found, str):
        return [], found.strip()
    turns = messages_in({column: found}, column)
    if not turns or turns[-1].role != "assistant":
        raise Unusable(f"{column} does not end with a turn of the assistant")
    return turns[:-1], turns[-1].content


def _beside_prompt(row: dict[str, Any]) -> bool:
    """Whether two answers stand beside their prompt, and none of the three is a transcript in one text."""
    texts = [row[column] for column in ("prompt", "chosen", "rejected")]
    forms = [isinstance(text, str) or are_turns(text) for text in texts]
    return all(forms) and not any(map(is_transcript, texts))


EXTRAS = ("gold", *PAIR_NUMBERS)
MIXES: tuple[MixFormat, ...] = ("prompt_completion", "preference")
PREFERENCE = Format(
    "preference",
    convert,
    ("prompt", "chosen", "rejected"),
    MIXES,
    optional=("system", *TOOLS, *EXTRAS),
    fits=_beside_prompt,
    values="texts, or lists of role and content",
)
IMPLICIT_PREFERENCE = Format(
    "implicit_preference",
    convert,
    ("chosen", "rejected"),
    MIXES,
    optional=("system", *TOOLS, *EXTRAS),
    fits=lambda row: are_turns(row["chosen"]) and are_turns(row["rejected"]),
    values="lists of role and content, which start alike",
)
