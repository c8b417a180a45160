"""A judge's verdicts on generated rows: prompts, and reading its answers."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bezoar.problems import read_yaml
from bezoar.requests.base import Backend, Completion, Request, Subject, ask
from bezoar.steps import prompts
from bezoar.steps.data.rows import FAILED, DroppedRow, FilteredRow, GeneratedRow
from bezoar.steps.filter.block import Filter

OVER_QUOTA = "over quota"
JUDGED = "judge: "  # prefix of reasons that a judge gave
OBJECT = re.compile(r'\{\s*"')  # how a JSON object that isn't empty can start
MOST_BROKEN = 10_000  # starts of JSON objects without an end; each takes long to check


def after_rules(reason: str) -> bool:
    """Whether a row was rejected for this reason after it had passed the cheap rules."""
    return reason == OVER_QUOTA or reason.startswith((FAILED, JUDGED))


class FilterPrompts(BaseModel):
    """A filter's prompt file: the criteria and the judge's prompt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    user: str = Field(description="Slots {criteria}, {fence}, {instruction} and {response}.")
    criteria: dict[str, str] = Field(min_length=1, description="Code of each criterion, and its meaning.")


class Verdict(BaseModel):
    """A judge's verdict on a row; by the order of fields it reasons before it rates and decides."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reasons: list[str]
    reason: str
    rating: float = Field(ge=1, le=10)
    status: str = Field(pattern="^(accept|reject)$")


def filter_prompts(path: Path) -> FilterPrompts:
    """A filter's prompt file.

    Raises:
        ValueError: It doesn't have the fields of FilterPrompts, or `user` lacks a slot.
    """
    texts = read_yaml(path, FilterPrompts)
    prompts.check_slots(path, "user", texts.user, ("criteria", "fence", "instruction", "response"))
    return texts


def verdict_schema(criteria: dict[str, str]) -> dict[str, Any]:
    """JSON schema of a verdict, for servers that enforce one; models write its keys in this order."""
    codes = sorted(criteria)
    properties = {
        "reasons": {"type": "array", "items": {"type": "string", "enum": codes}, "maxItems": len(codes)},
        "reason": {"type": "string"},
        "rating": {"type": "integer", "enum": list(range(1, 11))},
        "status": {"type": "string", "enum": ["accept", "reject"]},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_verdict(text: str, *quoted: str) -> Verdict | None:
    """The verdict in a judge's answer; None if there is none, or if several contradict each other.

    Args:
        text: The answer.
        quoted: Texts in the judge's prompt: a JSON object in them isn't a verdict, even if the judge repeats it.
    """
    forms = [form for part in quoted for form in (part, part.replace(r"\"", '"'))]
    try:
        shown = [one for form in forms for one in _nested(_objects(form))]
        found = [one for one in _objects(text) if "status" in one and one not in shown]
        verdicts = [Verdict.model_validate(one) for one in found]
    except ValueError:  # also pydantic's errors
        return None
    decisions = {(one.status, one.rating, frozenset(one.reasons)) for one in verdicts}
    return verdicts[-1] if len(decisions) == 1 else None


def _objects(text: str) -> list[dict[str, Any]]:
    """All outermost JSON objects in a text, without empty ones.

    Raises:
        ValueError: More than MOST_BROKEN objects start and don't end.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    found, broken, start = [], 0, OBJECT.search(text)
    while start:
        try:
            one, end = decoder.raw_decode(text, start.start())
            found.append(one)
        except (ValueError, RecursionError):  # not JSON, a number of too many digits, or nested too deeply
            end, broken = start.start() + 1, broken + 1
            if broken > MOST_BROKEN:
                raise ValueError(f"more than {MOST_BROKEN:,} JSON objects without an end") from None
        start = OBJECT.search(text, end)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key with two different values is left out."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        made[key] = None if key in made and made[key] != value else value
    return made


def _nested(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON objects, and all objects in them."""
    found: list[dict[str, Any]] = []
    rest: list[Any] = list(objects)
    while rest:
        one = rest.pop()
        if isinstance(one, dict):
            found.append(one)
            rest += one.values()
        elif isinstance(one, list):
            rest += one
    return found


def judged(
    rows: list[GeneratedRow], judge: Backend, block: Filter, texts: FilterPrompts, seed: int
) -> list[FilteredRow | DroppedRow]:
    """The judge's decisions about rows: it accepts those with that status that meet all criteria."""
    decisions: dict[str, FilteredRow | DroppedRow] = {}
    waiting = rows
    for attempt in range(block.max_attempts):
        requests = [_request(row, block, texts, attempt, seed) for row in waiting]
        unread = []
        for row, request, answer in zip(waiting, requests, judge.complete(requests, "judge rows"), strict=True):
            verdict = read_verdict(answer.text, row.instruction, row.response)
            if verdict is None and answer.fault is None:  # the backend has tried the others again
                unread.append(row)
            if verdict is not None:
                decisions.pop(row.id, None)  # a later verdict comes later
            decisions[row.id] = _decision(row, request, answer, verdict)
        waiting = unread
    return list(decisions.values())


def _decision(
    row: GeneratedRow, request: Request, answer: Completion, verdict: Verdict | None
) -> FilteredRow | DroppedRow:
    if verdict is None:
        why = answer.fault or "unreadable verdict"
        return DroppedRow(reason=f"{FAILED}{why}", detail=answer.error or answer.text, row=row.model_dump())
    filtered = FilteredRow(
        **row.model_dump(),
        status=verdict.status,
        rating=verdict.rating,
        reason=verdict.reason,
        judge=answer.model,
        judge_prompt_hash=request.prompt_hash,
    )
    if verdict.status == "accept" and not verdict.reasons:
        return filtered
    reasons = ", ".join(sorted(set(verdict.reasons))) or "status"
    return DroppedRow(reason=f"{JUDGED}{reasons}", detail=verdict.reason, row=filtered.model_dump())


def accepted(row: GeneratedRow) -> FilteredRow:
    """A row that is accepted without a judge, and so has no rating."""
    verdict = {"status": "accept", "rating": None, "reason": "", "judge": "", "judge_prompt_hash": ""}
    return FilteredRow.model_validate(row.model_dump() | verdict)


def _request(row: GeneratedRow, block: Filter, texts: FilterPrompts, attempt: int, seed: int) -> Request:
    criteria = "\n".join(f"- {code}: {text}" for code, text in texts.criteria.items())
    quoted = {"instruction": row.instruction, "response": row.response}
    fence = prompts.fence(seed, f"judge:{row.id}", *quoted.values())
    user = prompts.fill(texts.user, criteria=criteria, fence=fence, **quoted)
    request = ask(f"judge:{row.id}:{attempt}", user, block.sampling, texts.system, sample=str(attempt))
    subject = Subject((row.instruction,), row.response)
    return replace(request, subject=subject, schema=verdict_schema(texts.criteria))
