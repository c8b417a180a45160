"""Keep the generated rows that cheap rules and then a judge let pass; keep the others too, with their reasons."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from bezoar import accounting, prompts
from bezoar.backends import Backend, Request, Subject, ask, open_backend
from bezoar.contamination import TEXT_FIELDS, EvaluationItems, texts_of
from bezoar.files import artifact, write_json
from bezoar.logs import logger
from bezoar.params.data import Filter
from bezoar.refusals import phrase_in, refuses
from bezoar.repetition import repetition
from bezoar.rows import (
    FAILED,
    DroppedRow,
    FilteredRow,
    GeneratedRow,
    folded,
    read_json_lines,
    read_rows,
    reasons_of,
    row_id,
    write_rows,
)
from bezoar.script import Flags, run

OVER_QUOTA = "over quota"
OBJECT = re.compile(r'\{\s*"')  # what can begin a JSON object that isn't empty
MOST_BROKEN = 10_000  # beginnings of JSON objects without an end; a look at one may take long


class FilterPrompts(BaseModel):
    """A filter's prompt file: what each criterion means, and how the judge is asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str
    user: str = Field(description="Slots {criteria}, {fence}, {instruction} and {response}.")
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
        if not row.response.strip():
            return "empty response", ""
        if row.finish_reason != "stop":
            return f"finish reason {row.finish_reason}", ""
        if folded(row.response) == folded(row.instruction):
            return "echo of the instruction", ""
        for marker in self.block.leaked_markers:
            if marker in row.response or marker in row.instruction:
                return "leaked marker", marker
        if phrase := phrase_in(row.response, self.block.refusal_phrases):
            return "refusal", phrase
        if self.block.drop_refusals and refuses(row.response):
            return "refusal", row.response[:80]
        if (share := repetition(row.response)) > self.block.most_repetition:
            return "repetition", f"{share:.0%} repeated"
        key = row_id(row.system or "", folded(row.instruction), folded(row.response))
        if key in self.seen:
            return "duplicate", ""
        self.seen.add(key)
        if self.items.leaks_into(row.instruction) or self.items.leaks_into(row.response):
            return "evaluation item", ""
        return None


def verdict_schema(criteria: dict[str, str]) -> dict[str, Any]:
    """JSON schema of a verdict, for servers that enforce one; models write its keys in their order here."""
    codes = sorted(criteria)
    properties = {
        "reasons": {"type": "array", "items": {"type": "string", "enum": codes}, "maxItems": len(codes)},
        "reason": {"type": "string"},
        "rating": {"type": "integer", "enum": list(range(1, 11))},
        "status": {"type": "string", "enum": ["accept", "reject"]},
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def read_verdict(text: str, *quoted: str) -> Verdict | None:
    """The verdict in a judge's answer; None where there is none, or where several contradict each other.

    Args:
        text: The answer.
        quoted: Texts that the judge was shown: what stands there as a JSON object is no verdict, though it be repeated.
    """
    forms = [form for part in quoted for form in (part, part.replace(r"\"", '"'))]
    try:
        shown = [one for form in forms for one in _nested(_objects(form))]
        found = [one for one in _objects(text) if "status" in one and one not in shown]
        verdicts = [Verdict.model_validate(one) for one in found]
    except ValueError:  # pydantic's are such, too
        return None
    decisions = {(one.status, one.rating, frozenset(one.reasons)) for one in verdicts}
    return verdicts[-1] if len(decisions) == 1 else None


def _objects(text: str) -> list[dict[str, Any]]:
    """All JSON objects in a text that are in no other, empty ones apart.

    Raises:
        ValueError: It begins more than MOST_BROKEN objects that don't end.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    found, broken, start = [], 0, OBJECT.search(text)
    while start:
        try:
            one, end = decoder.raw_decode(text, start.start())
            found.append(one)
        except (ValueError, RecursionError):  # no JSON, a number of too many digits, or nested too deep
            end, broken = start.start() + 1, broken + 1
            if broken > MOST_BROKEN:
                raise ValueError(f"more than {MOST_BROKEN:,} JSON objects without an end") from None
        start = OBJECT.search(text, end)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a key that is there twice with different values has none."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        made[key] = None if key in made and made[key] != value else value
    return made


def _nested(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """JSON objects with those that are in them."""
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
) -> tuple[list[FilteredRow], list[DroppedRow]]:
    """Rows that the judge accepts, and the others; accepted is what meets all criteria and has that status."""
    kept: dict[str, FilteredRow] = {}
    dropped: dict[str, DroppedRow] = {}
    waiting = rows
    for attempt in range(block.attempts):
        requests = [_request(row, block, texts, attempt, seed) for row in waiting]
        unread = []
        for row, request, answer in zip(waiting, requests, judge.complete(requests, "judge rows"), strict=True):
            verdict = read_verdict(answer.text, row.instruction, row.response)
            if verdict is None:
                if answer.fault is None:  # else the backend has tried already
                    unread.append(row)
                why = answer.fault or "unreadable verdict"
                dropped[row.id] = DroppedRow(
                    reason=f"{FAILED}{why}", detail=answer.error or answer.text, row=row.model_dump()
                )
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


def _request(row: GeneratedRow, block: Filter, texts: FilterPrompts, attempt: int, seed: int) -> Request:
    criteria = "\n".join(f"- {code}: {text}" for code, text in texts.criteria.items())
    quoted = {"instruction": row.instruction, "response": row.response}
    fence = prompts.fence(seed, f"judge:{row.id}", *quoted.values())
    user = prompts.fill(texts.user, criteria=criteria, fence=fence, **quoted)
    request = ask(f"judge:{row.id}:{attempt}", user, block.sampling, texts.system, sample=str(attempt))
    subject = Subject((row.instruction,), row.response)
    return replace(request, subject=subject, schema=verdict_schema(texts.criteria))


def judged_up_to(
    quota: int, rows: list[GeneratedRow], judge: Backend, block: Filter, texts: FilterPrompts, seed: int
) -> tuple[list[FilteredRow], list[DroppedRow]]:
    """Exactly so many accepted rows, the first ones; those that it takes no verdict of are dropped as over quota.

    Each round judges no more rows than are still wanted, so none is judged in vain. There may be fewer.
    """
    kept: list[FilteredRow] = []
    dropped: list[DroppedRow] = []
    rest = rows
    while rest and len(kept) < quota:
        wanted = quota - len(kept)
        accepted, refused = judged(rest[:wanted], judge, block, texts, seed)
        kept, dropped, rest = kept + accepted, dropped + refused, rest[wanted:]
    return kept, dropped + [DroppedRow(reason=OVER_QUOTA, detail="", row=row.model_dump()) for row in rest]


def filtered(
    rows: list[GeneratedRow],
    judge: Backend,
    block: Filter,
    texts: FilterPrompts,
    items: EvaluationItems,
    quota: int | None = None,
    seed: int = 0,
) -> tuple[list[FilteredRow], list[DroppedRow]]:
    """Kept and rejected rows; together they are all rows.

    Raises:
        ValueError: Too many rows are left without a readable verdict, too few are accepted, or rows got lost. A shard
            of few rows may keep none; that no shard of a scheme keeps any is found by the mixes, which see all.
    """
    rules = Rules(block, items)
    passed, rejected = [], []
    for row in rows:
        fault = rules.fault(row)
        if fault:
            rejected.append(DroppedRow(reason=fault[0], detail=fault[1], row=row.model_dump()))
        else:
            passed.append(row)
    if quota is None:
        kept, refused = judged(passed, judge, block, texts, seed)
    else:
        kept, refused = judged_up_to(quota, passed, judge, block, texts, seed)
    failed = [row for row in refused if row.failed]
    asked = len(kept) + sum(row.reason != OVER_QUOTA for row in refused)
    if len(failed) > block.most_failed * asked:
        raise ValueError(
            f"the judge's verdicts can't be read\n  found:    {len(failed):,} of {asked:,} rows without a "
            f"verdict, such as {failed[0].reason}: {failed[0].detail[:200]!r}\n"
            f"  expected: at most a share of {block.most_failed}"
        )
    if quota and len(kept) < quota:
        raise ValueError(
            f"too few rows are accepted\n  found:    {len(kept):,} of {len(passed):,} that the cheap rules let pass\n"
            f"  expected: {quota:,}, this shard's part of the quota\n"
            "hint: have the scheme write more candidates; what was judged is not paid for again"
        )
    accounting.check_conserved("filter", len(rows), len(kept), reasons_of(rejected + refused))
    lost = [row for row in rejected + refused if row.reason != OVER_QUOTA]
    accounting.check_dropped(
        "filter",
        len(kept) + len(lost),
        lost,
        block.max_dropped_share,
        key="max_dropped_share",
        hint="look at what the scheme makes, and at the judge's reasons",
    )
    return kept, rejected + refused


def share_of(quota: int, shard: int, shards: int) -> int:
    """A shard's part of a quota; the parts of all shards sum to it."""
    return quota // shards + (shard < quota % shards)


def filter_prompts(path: Path) -> FilterPrompts:
    """A filter's prompt file.

    Raises:
        ValueError: It doesn't have the fields of FilterPrompts, or `user` lacks a slot.
    """
    texts = prompts.read(path, FilterPrompts)
    prompts.check_slots(path, "user", texts.user, ("criteria", "fence", "instruction", "response"))
    return texts


def evaluation_items(paths: list[Path]) -> EvaluationItems:
    """The items of all sources that are to be avoided.

    Raises:
        ValueError: A source has rows, but none with a text that could be compared.
    """
    found: list[str] = []
    for path in paths:
        rows = list(read_json_lines(path))
        texts = [text for number, row in rows for text in texts_of(row, f"{path}:{number}")]
        if rows and not texts:
            raise ValueError(
                f"{path}: no row has a text to avoid\n  found:    {', '.join(rows[0][1])}\n"
                f"  expected: one or more of {', '.join(TEXT_FIELDS)}"
            )
        found += texts
    return EvaluationItems(found)


def main(argv: list[str] | None = None) -> None:
    flags = Flags(__doc__, blocks="filters.<scheme> backends.<judge> prompt seed budget [shards]")
    flags.path("rows", "rows.jsonl of a generated shard")
    flags.path("prompts", "prompt file of the filter")
    flags.path("avoid", "rows.jsonl of sources with evaluation items", many=True)
    flags.path("judge", "model directory of a local judge", optional=True)
    flags.folder("out", "folder of the shard to write kept.jsonl, rejected.jsonl and report.json to")
    args, (block, backend, prompt, seed, budget, *shards) = flags.start(argv)
    texts = filter_prompts(args.prompts)
    rows = list(read_rows(args.rows, GeneratedRow))
    judge = open_backend(backend, checkpoint=args.judge, system=prompt.system, seed=seed, budget=budget)
    quota = share_of(block.quota, int(args.out.name), *shards) if block.quota else None
    kept, rejected = filtered(rows, judge, block, texts, evaluation_items(args.avoid), quota, seed)
    reasons = reasons_of(row for row in rejected if not row.failed)
    failed = reasons_of(row for row in rejected if row.failed)
    with artifact(args.out) as out:
        write_rows(out / "kept.jsonl", kept)
        write_rows(out / "rejected.jsonl", rejected)
        write_json(out / "report.json", {"rows": len(rows), "kept": len(kept), "rejected": reasons, "failed": failed})
    share = len(kept) / max(1, len(rows))
    why = f"rejected {reasons or 'none'}, failed {failed or 'none'}"
    logger.info(f"filter {args.out.parent.name}: kept {len(kept):,} of {len(rows):,} rows ({share:.1%}); {why}")


if __name__ == "__main__":
    run(main)
