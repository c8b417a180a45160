"""Keep the generated rows that cheap rules and then a judge let pass; keep the others too, with their reasons."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bezoar import prompts
from bezoar.backends import Backend, Request, Subject, ask, open_backend
from bezoar.contamination import EvaluationItems, texts_of
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.params.data import Filter
from bezoar.rows import DroppedRow, FilteredRow, GeneratedRow, read_json_lines, read_rows, row_id, write_rows
from bezoar.script import Flags

FEWEST_TRIPLES = 12  # repetition says nothing about a text of a few words


class FilterPrompts(BaseModel):
    """A filter's prompt file: what each criterion means, and how the judge is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    user: str = Field(description="Slots {criteria}, {instruction} and {response}.")
    criteria: dict[str, str] = Field(min_length=1, description="Code of each criterion, and what it asks for.")


class Verdict(BaseModel):
    """What a judge says of a row; the order of fields makes it reason before it rates and decides."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    reasons: list[str]
    reason: str
    rating: float = Field(ge=1, le=10)
    status: str = Field(pattern="^(accept|reject)$")


@dataclass
class Rules:
    """The cheap rules, in the order of their cost."""

    block: Filter
    items: EvaluationItems

    def __post_init__(self) -> None:
        self.seen: set[str] = set()

    def fault(self, row: GeneratedRow) -> tuple[str, str] | None:
        """The first rule that a row breaks, with its detail; None if it breaks none."""
        response = row.response.casefold()
        if not response:
            return "empty response", ""
        if row.finish_reason != "stop":
            return f"finish reason {row.finish_reason}", ""
        if response == row.instruction.casefold():
            return "echo of the instruction", ""
        for marker in self.block.leaked_markers:
            if marker in row.response or marker in row.instruction:
                return "leaked marker", marker
        for phrase in self.block.refusal_phrases:
            if phrase.casefold() in response:
                return "refusal", phrase
        if repetition(response) > self.block.most_repetition:
            return "repetition", f"{repetition(response):.0%} of word triples repeated"
        key = row_id(row.system or "", row.instruction.casefold(), response)
        if key in self.seen:
            return "duplicate", ""
        self.seen.add(key)
        if self.items.leaks_into(row.instruction) or self.items.leaks_into(row.response):
            return "evaluation item", ""
        return None


def repetition(text: str) -> float:
    """Share of word triples that stood before in the text, from 0 to 1; 0 for a text of a few words."""
    words = text.split()
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if len(triples) >= FEWEST_TRIPLES else 0.0


def verdict_schema(criteria: dict[str, str]) -> dict[str, Any]:
    """JSON schema of a verdict, for servers that enforce one."""
    properties = {
        "reasons": {"type": "array", "items": {"type": "string", "enum": sorted(criteria)}},
        "reason": {"type": "string"},
        "rating": {"type": "integer", "enum": list(range(1, 11))},
        "status": {"type": "string", "enum": ["accept", "reject"]},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_verdict(text: str) -> Verdict | None:
    """The last JSON object of a judge's answer as a verdict; None where there is none, never a default."""
    last, start = None, text.find("{")
    while start >= 0:
        try:
            last, end = json.JSONDecoder().raw_decode(text, start)
        except json.JSONDecodeError:
            end = start + 1
        start = text.find("{", end)
    try:
        return Verdict.model_validate(last)
    except ValidationError:
        return None


def judged(
    rows: list[GeneratedRow], judge: Backend, block: Filter, texts: FilterPrompts
) -> tuple[list[FilteredRow], list[DroppedRow]]:
    """Rows that the judge accepts, and the others; accepted is what meets all criteria and has that status."""
    kept: dict[str, FilteredRow] = {}
    dropped: dict[str, DroppedRow] = {}
    waiting = rows
    for attempt in range(block.attempts):
        requests = [_request(row, block, texts, attempt) for row in waiting]
        unread = []
        for row, request, answer in zip(waiting, requests, judge.complete(requests, "judge rows"), strict=True):
            verdict = read_verdict(answer.text)
            if verdict is None:
                unread.append(row)
                dropped[row.id] = DroppedRow(reason="unjudged", detail=answer.text, row=row.model_dump())
                continue
            dropped.pop(row.id, None)
            filtered = FilteredRow(
                **row.model_dump(),
                status=verdict.status,
                rating=verdict.rating,
                reason=verdict.reason,
                judge=answer.model,
                judge_prompt_hash=request.prompt_hash,
            )
            if verdict.status == "accept" and not verdict.reasons:
                kept[row.id] = filtered
            else:
                reasons = ", ".join(sorted(set(verdict.reasons))) or "status"
                dropped[row.id] = DroppedRow(
                    reason=f"judge: {reasons}", detail=verdict.reason, row=filtered.model_dump()
                )
        waiting = unread
    return list(kept.values()), list(dropped.values())


def _request(row: GeneratedRow, block: Filter, texts: FilterPrompts, attempt: int) -> Request:
    criteria = "\n".join(f"- {code}: {text}" for code, text in texts.criteria.items())
    user = prompts.fill(texts.user, criteria=criteria, instruction=row.instruction, response=row.response)
    request = ask(f"judge:{row.id}:{attempt}", user, block.sampling, texts.system)
    subject = Subject((row.instruction,), row.response)
    return Request(request.key, request.messages, request.sampling, subject, verdict_schema(texts.criteria))


def filtered(
    rows: list[GeneratedRow], judge: Backend, block: Filter, texts: FilterPrompts, items: EvaluationItems
) -> tuple[list[FilteredRow], list[DroppedRow]]:
    """Kept and rejected rows; together they are all rows.

    Raises:
        ValueError: Too many rows are left without a readable verdict, or rows got lost.
    """
    rules = Rules(block, items)
    passed, rejected = [], []
    for row in rows:
        fault = rules.fault(row)
        if fault:
            rejected.append(DroppedRow(reason=fault[0], detail=fault[1], row=row.model_dump()))
        else:
            passed.append(row)
    kept, refused = judged(passed, judge, block, texts)
    unjudged = sum(row.reason == "unjudged" for row in refused)
    if unjudged > block.most_unjudged * max(1, len(passed)):
        example = next(row.detail for row in refused if row.reason == "unjudged")
        raise ValueError(
            f"the judge's verdicts can't be read\n  found:    {unjudged:,} of {len(passed):,} rows without a verdict, "
            f"such as {example[:200]!r}\n  expected: at most a share of {block.most_unjudged}"
        )
    if len(kept) + len(refused) + len(rejected) != len(rows):
        raise ValueError(f"rows got lost: {len(rows)} in, {len(kept)} kept, {len(rejected) + len(refused)} rejected")
    return kept, rejected + refused


def filter_prompts(path: Path) -> FilterPrompts:
    """A filter's prompt file.

    Raises:
        ValueError: It doesn't have the fields of FilterPrompts, or `user` lacks a slot.
    """
    texts = prompts.read(path, FilterPrompts)
    prompts.check_slots(path, "user", texts.user, ("criteria", "instruction", "response"))
    return texts


def evaluation_items(paths: list[Path]) -> EvaluationItems:
    """The items of all sources that are to be avoided."""
    return EvaluationItems(text for path in paths for _, row in read_json_lines(path) for text in texts_of(row))


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="filters.<scheme> backends.<judge> prompt seed")
    flags.path("rows", "rows.jsonl of a generated shard")
    flags.path("prompts", "prompt file of the filter")
    flags.path("avoid", "rows.jsonl of sources with evaluation items", many=True)
    flags.path("judge", "model directory of a local judge", optional=True)
    flags.folder("out", "folder of the shard to write kept.jsonl, rejected.jsonl and report.json to")
    args, (block, backend, prompt, seed) = flags.start(argv)
    texts = filter_prompts(args.prompts)
    rows = list(read_rows(args.rows, GeneratedRow))
    judge = open_backend(backend, checkpoint=args.judge, system=prompt.system, seed=seed)
    kept, rejected = filtered(rows, judge, block, texts, evaluation_items(args.avoid))
    reasons = dict(sorted(Counter(row.reason for row in rejected).items()))
    with artifact(args.out) as out:
        write_rows(out / "kept.jsonl", kept)
        write_rows(out / "rejected.jsonl", rejected)
        write_json(out / "report.json", {"rows": len(rows), "kept": len(kept), "rejected": reasons})
    share = len(kept) / max(1, len(rows))
    logger.info(f"filter {args.out.parent.name}: kept {len(kept):,} of {len(rows):,} rows ({share:.1%}); {reasons}")


if __name__ == "__main__":
    main()
