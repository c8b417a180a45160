"""A prompt and its answer, under the names that data sets have for them."""

from collections.abc import Callable
from typing import Any

from bezoar.steps.data.formats.common import Format, MixFormat, text_in
from bezoar.steps.data.formats.turns import TOOLS, are_turns, chat_row, messages_in, under_system
from bezoar.steps.data.rows import ChatRow, dialogue


def _convert(name: str, asked: str, answered: str) -> Callable[[dict[str, Any]], ChatRow]:
    """The conversion of two columns of text, perhaps under a system text."""
    return lambda row: chat_row(name, under_system(row, dialogue(text_in(row, asked), text_in(row, answered))))


def prompt_completion(row: dict[str, Any]) -> ChatRow:
    """TRL's prompt and completion: two texts, or two lists of messages."""
    if isinstance(row["prompt"], list):
        turns = [*messages_in(row, "prompt"), *messages_in({"completion": row["completion"]}, "completion")]
        return chat_row("prompt_completion", turns)
    return _convert("prompt_completion", "prompt", "completion")(row)


def _is_pair(row: dict[str, Any]) -> bool:
    prompt, completion = row["prompt"], row["completion"]
    return are_turns(prompt) and are_turns(completion) if isinstance(prompt, list) else isinstance(completion, str)


MIXES: tuple[MixFormat, ...] = ("prompt_completion",)
PROMPT_COMPLETION = Format(
    "prompt_completion",
    prompt_completion,
    ("prompt", "completion"),
    MIXES,
    optional=("system", *TOOLS),
    fits=_is_pair,
    values="texts, or lists of role and content",
)
PROMPT_RESPONSE = Format(
    "prompt_response",
    _convert("prompt_response", "prompt", "response"),
    ("prompt", "response"),
    MIXES,
    optional=("system", *TOOLS),
)
QUESTION_ANSWER = Format(
    "question_answer",
    _convert("question_answer", "question", "answer"),
    ("question", "answer"),
    MIXES,
    optional=("system", *TOOLS),
)
