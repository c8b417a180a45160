"""Responses read: what a model said, and the tokens that its server counted, whatever else a body may hold."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from bezoar.requests import failures
from bezoar.requests.calls import compact, decoded
from bezoar.requests.prices import Usage
from bezoar.requests.provider import Answer, Ending
from bezoar.text import replace_surrogates, without_thinking

NO_COUNT = -1  # of tokens, where a server gives something else than a whole number from 0 on
THOUGHTS = {"thinking", "redacted_thinking", "reasoning"}  # parts of an answer that are not what it says


def parsed(text: str, what: str) -> dict[str, Any]:
    """A response's JSON; raises Failure if it is cut, nested too deep, or no map."""
    try:
        data = decoded(text)
    except ValueError as error:
        raise failures.of_answer(f"not JSON ({error}), where {what} was expected", text) from None
    if not isinstance(data, dict):
        raise failures.of_answer(f"not {what}", text)
    return data


def name_of(data: dict[str, Any], what: str) -> str:
    """The id of what was created; raises Failure if it has none."""
    name = data.get("id")
    if not isinstance(name, str) or not name:
        raise failures.of_answer(f"{what} without an id", compact(data).decode("utf-8", "replace"))
    return name


def custom_id(line: dict[str, Any]) -> str:
    """The key of the call that a line of a batch's results is of; raises TypeError if it is no text."""
    if not isinstance(line["custom_id"], str):
        raise TypeError(line["custom_id"])
    return line["custom_id"]


def stored_form(body: Any) -> str:
    """A response's JSON out of a batch's line as the text that a live response would have."""
    try:
        return compact(body).decode()
    except UnicodeEncodeError:  # half of a character: spelled as it came, and counted where it is read
        return json.dumps(body)


def count(usage: Any, *names: str) -> int:
    """A count of tokens, perhaps nested; 0 where the server leaves it out, NO_COUNT for what is none."""
    for name in names:
        usage = usage.get(name) if isinstance(usage, dict) else None
    if usage is None:
        return 0
    if isinstance(usage, float) and usage.is_integer():
        usage = int(usage)
    return usage if isinstance(usage, int) and not isinstance(usage, bool) and usage >= 0 else NO_COUNT


def needed_count(usage: dict[str, Any], name: str) -> int:
    """A count of tokens that has to be there; raises KeyError or TypeError without one."""
    if usage[name] is None:
        raise KeyError(name)
    return count(usage, name)


def words_of(content: Any) -> str | None:
    """What an answer's content says, without its thoughts: of a text, or of a list of parts; None for anything else."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind not in THOUGHTS:
            return None
    return "".join(texts)


def answer_of(
    content: str | None, ending: Ending, model: Any, usage: Usage, thinking: Iterable[Sequence[str]]
) -> Answer:
    """The answer that a response's parts make.

    Args:
        content: What it says, by `words_of`.
        ending: As the server tells it.
        model: The model's name.
        usage: What it used.
        thinking: Pairs of markers between which the model thinks.
    """
    said, replaced = replace_surrogates(content or "")
    said, closed = without_thinking(said, thinking)
    said = said.strip()
    if content is None:
        ending = "other"
    elif ending == "stop":
        ending = "thinking" if not closed else "stop" if said else "empty"
    return Answer(said, ending, replace_surrogates(str(model))[0], usage, replaced)
