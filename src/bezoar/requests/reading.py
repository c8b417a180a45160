"""Reading responses: the model's text and the server's token counts; a body may hold anything."""

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

from bezoar.requests import failures
from bezoar.requests.calls import compact, decoded
from bezoar.requests.prices import Usage
from bezoar.requests.provider import Answer, Ending
from bezoar.text import replace_surrogates, without_thinking

NO_COUNT = -1  # of tokens, where a server sends anything but a whole number from 0 on
LEAST_LOGPROB = -1e9  # stands for minus infinity, and for a number with too many digits
THOUGHTS = {"thinking", "redacted_thinking", "reasoning"}  # parts of an answer that aren't its text


def parsed(text: str, what: str) -> dict[str, Any]:
    """A response's JSON; raises Failure if it is cut, nested too deeply, or not a map."""
    try:
        data = decoded(text)
    except ValueError as error:
        raise failures.of_answer(f"not JSON ({error}), where {what} was expected", text) from None
    if not isinstance(data, dict):
        raise failures.of_answer(f"not {what}", text)
    return data


def name_of(data: dict[str, Any], what: str) -> str:
    """The id of a created object; raises Failure if it has none."""
    name = data.get("id")
    if not isinstance(name, str) or not name:
        raise failures.of_answer(f"{what} without an id", compact(data).decode("utf-8", "replace"))
    return name


def custom_id(line: dict[str, Any]) -> str:
    """The key of the call that a line of a batch's results belongs to; raises TypeError if it isn't text."""
    if not isinstance(line["custom_id"], str):
        raise TypeError(line["custom_id"])
    return line["custom_id"]


def stored_form(body: Any) -> str:
    """A response in a batch's line as the text that a live response would have."""
    try:
        return compact(body).decode()
    except UnicodeEncodeError:  # a broken character: keep its escape; `answer_of` counts it
        return json.dumps(body)


def count(usage: Any, *names: str) -> int:
    """A count of tokens, perhaps nested; 0 if the server leaves it out, NO_COUNT if it isn't a count."""
    for name in names:
        usage = usage.get(name) if isinstance(usage, dict) else None
    if usage is None:
        return 0
    if isinstance(usage, float) and usage.is_integer():
        usage = int(usage)
    return usage if isinstance(usage, int) and not isinstance(usage, bool) and usage >= 0 else NO_COUNT


def needed_count(usage: dict[str, Any], name: str) -> int:
    """A required count of tokens; raises KeyError or TypeError if it is missing."""
    if usage[name] is None:
        raise KeyError(name)
    return count(usage, name)


def words_of(content: Any) -> str | None:
    """The text of an answer's content, without its thoughts; None if it is neither text nor a list of parts."""
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


def alternatives_of(logprobs: Any) -> tuple[tuple[str, float], ...] | None:
    """The first token's alternatives with their log-probabilities; None if the server sends none, or none in order."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    first = content[0] if isinstance(content, list) and content else None
    listed = first.get("top_logprobs") if isinstance(first, dict) else None
    found = [_alternative(one) for one in listed] if isinstance(listed, list) else []
    kept = tuple(one for one in found if one is not None)
    return kept if kept and len(kept) == len(found) else None


def logprob_of(logprobs: Any, tokens: int) -> float | None:
    """The sum of an answer's log-probabilities; None if the server doesn't send one for each of its tokens.

    Args:
        logprobs: Of a chat completion's choice.
        tokens: As many as the server counts, with the one that ends the answer.
    """
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    found = [_alternative(one) for one in content] if isinstance(content, list) else []
    values = [one[1] for one in found if one is not None and one[1] > LEAST_LOGPROB]
    return round(math.fsum(values), 4) if len(values) == len(found) == tokens else None


def _alternative(one: Any) -> tuple[str, float] | None:
    """A token and its log-probability, which is 0 or less; None if it is anything else."""
    token, value = (one.get("token"), one.get("logprob")) if isinstance(one, dict) else (None, None)
    if not isinstance(token, str) or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return (replace_surrogates(token)[0], float(max(value, LEAST_LOGPROB))) if value <= 0 else None


def answer_of(
    content: str | None,
    ending: Ending,
    model: Any,
    usage: Usage,
    thinking: Iterable[Sequence[str]],
    alternatives: tuple[tuple[str, float], ...] | None = None,
    logprob: float | None = None,
) -> Answer:
    """The answer in a response.

    Args:
        content: Its text, by `words_of`.
        ending: As the server reports it.
        model: The model's name.
        usage: What it used.
        thinking: Pairs of markers around the model's thinking.
        alternatives: By `alternatives_of`.
        logprob: By `logprob_of`.
    """
    said, replaced = replace_surrogates(content or "")
    said, closed = without_thinking(said, thinking)
    said = said.strip()
    if content is None:
        ending = "other"
    elif ending == "stop":
        ending = "thinking" if not closed else "stop" if said else "empty"
    return Answer(said, ending, replace_surrogates(str(model))[0], usage, replaced, alternatives, logprob)
