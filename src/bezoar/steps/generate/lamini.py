"""LaMini: a teacher lists new instructions similar to examples, with and without topics, then answers each.

Scheme: LaMini-LM (Wu et al. 2023, arXiv:2304.14402), section 2. No code of this step is published: compared with
mbzuai-nlp/LaMini-LM at 48cfa492b642fc22c63cadf7b1d3588882c92cd1 as described in its README. We differ: the mode and the
examples of a call are drawn by the call's number, so that a new seed row changes few calls, a call that yields too few
instructions is repeated, the prompts are our own texts, and only two of the README's seven kinds of rows are made,
self_instruct_with_topic and self_instruct_without_topic.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import FilePath, Name, Reference, Share
from bezoar.errors import InputError, problem
from bezoar.jsonl import read_lines
from bezoar.requests.base import Backend, Completion, ask
from bezoar.steps import prompts
from bezoar.steps.data.lots import Lots
from bezoar.steps.data.rows import DroppedRow, GeneratedRow, Row, SeedRow, normalized, row_id
from bezoar.steps.generate.scheme import SchemeBlock, dropped_row, failed_row
from bezoar.steps.seeded import Seeded

TAG = re.compile(r"<\s*(/?)\s*example\s*>", re.IGNORECASE)
TAGGED = re.compile(r"<example>(.*?)</example>", re.DOTALL)
# of a list item, unlike 3.5, 7:30, -2 or a year
ITEM = re.compile(r"^[ \t]*\d{1,2}[ \t]*[.):](?!\d)", re.MULTILINE)  # how an item of a numbered list starts
NUMBERING = re.compile(r"^\s*(?:\d{1,2}\s*[.):](?!\d)\s*|[-*•]\s+)")
LABELS = {True: "self_instruct_with_topic", False: "self_instruct_without_topic"}  # LaMini-LM's own labels


class Listing(Seeded):
    """What the draws of LaMini's calls depend on."""

    section: ClassVar[str] = "schemes"

    topics: FilePath | None = Field(None, description="Text file, one topic per line; null draws without topics only.")
    topic_share: Share = Field(0.5, description="Share of calls that are guided by topics.")
    calls: int = Field(ge=1, description="Listing calls over all shards.")
    examples_per_prompt: int = Field(3, ge=1, description="Default: the paper, section 2.2.")
    topics_per_prompt: int = Field(3, ge=0, description="Default: the paper, section 2.2.")


class Lamini(Listing, SchemeBlock):
    """LaMini-LM (Wu et al. 2023, arXiv:2304.14402): new instructions from examples, with and without topics."""

    deals: ClassVar[tuple[str, ...]] = tuple(Listing.model_fields)

    method: Literal["lamini"]
    prompts: FilePath = Field(description="Prompt file of the scheme.")
    seeds: Annotated[Name, Reference(("sources",), "no such source", formats=("seed_tasks", "dolly"))] = Field(
        description="Source of the examples."
    )
    instructions_per_call: int = Field(20, ge=1, description="Default: the paper, section 2.2.")
    min_instructions: int = Field(1, ge=1, description="A call that yields fewer is repeated.")
    max_attempts: int = Field(2, ge=1, description="Most tries of a listing call.")
    max_words: int = Field(150, ge=1, description="Most words of an instruction.")
    parser: Literal["tags", "opened_tag", "numbered_list"] = Field(
        "tags",
        description="How examples are listed in the prompt, and instructions in the answer: in <example> tags; the "
        "same, where the prompt ends with an opened tag; or as a numbered list. Small models write no tags.",
    )

    def files(self) -> list[str]:
        """The topic list."""
        return [self.topics] if self.topics else []

    def candidates_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """The most instructions that the shard's calls list."""
        return ceil(self.calls / shards) * self.instructions_per_call

    def requests_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """The listing calls, and an answer to each instruction."""
        return ceil(self.calls / shards) * (1 + self.instructions_per_call)


class Example(Row):
    """A seed row as an example: its columns that a call depends on."""

    id: str
    instruction: str


class ListingCall(Row):
    """One listing call."""

    number: int
    examples: tuple[Example, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """An instruction that a call listed."""

    instruction: str
    call: ListingCall


def read_topics(path: Path) -> list[str]:
    """The topics of a file, one per line.

    Raises:
        ValueError: It has none.
    """
    topics = [line.strip() for _, line in read_lines(path) if line.strip()]
    if not topics:
        raise InputError(
            problem(f"{path}: no topic", found="an empty file", expected="one topic per line, or topics: null")
        )
    return topics


def calls_of(seeds: Iterable[SeedRow], topics: list[str], block: Listing, seed: int) -> Iterator[ListingCall]:
    """All listing calls: their examples are drawn from all seed rows; none without seed rows."""
    rows = [Example(id=row.id, instruction=row.instruction) for row in seeds]
    lots, topic_lots = Lots([row.id for row in rows]), Lots(topics)
    for number in range(block.calls if rows else 0):
        name = f"{seed}:lamini:{number}"
        examples = [rows[place] for place in lots.draw(name, block.examples_per_prompt)]
        guided = bool(topics) and floor((number + 1) * block.topic_share) > floor(number * block.topic_share)
        found = [topics[place] for place in topic_lots.draw(name, block.topics_per_prompt)] if guided else []
        yield ListingCall(number=number, examples=tuple(examples), topics=tuple(found))


def dealt(
    seeds: Iterable[SeedRow], topics: list[str], block: Listing, seed: int, shards: int
) -> Iterator[tuple[int, str, ListingCall]]:
    """All calls, each with its shard's number and its place there: shards take turns."""
    for call in calls_of(seeds, topics, block, seed):
        yield call.number % shards, f"{call.number:012d}", call


def listing_prompt(call: ListingCall, block: Lamini, templates: dict[str, str]) -> str:
    """The prompt of a call."""
    form = "{number}. {text}" if block.parser == "numbered_list" else "<example>{text}</example>"
    texts = [form.format(number=number, text=row.instruction) for number, row in enumerate(call.examples, start=1)]
    examples = "\n".join(texts)
    name = "topic_guided" if call.topics else "example_guided"
    count = str(block.instructions_per_call)
    return prompts.fill(templates[name], examples=examples, topics=", ".join(call.topics), count=count)


def tagged(text: str) -> tuple[list[str], list[str]]:
    """Texts in complete pairs of tags, and starts of items without an end tag."""
    text = TAG.sub(r"<\1example>", text)
    items: list[str] = []
    unclosed: list[str] = []
    for found in TAGGED.findall(text):
        *starts, item = found.split("<example>")
        unclosed += starts
        items.append(item)
    if text.rfind("<example>") > text.rfind("</example>"):
        unclosed.append(text[text.rfind("<example>") :])
    return items, unclosed


def completed(text: str, ended: bool) -> str:
    """An answer to a prompt that ends with an opened tag: with that tag, and with the end tag if it has ended."""
    text = TAG.sub(r"<\1example>", text).strip()
    text = text if text.startswith("<example>") else f"<example>{text}"
    is_open = text.rfind("<example>") > text.rfind("</example>")
    return f"{text}</example>" if ended and is_open else text


def numbered(text: str, ended: bool) -> tuple[list[str], list[str]]:
    """Items of a numbered list, each up to the next number or a blank line, and the item that a cut answer ends in."""
    items = [re.split(r"\n\s*\n", item)[0] for item in ITEM.split(text)[1:]]
    return (items, []) if ended else (items[:-1], items[-1:])


def listed(
    text: str, call: ListingCall, max_words: int, parser: str = "tags", *, ended: bool = True
) -> tuple[list[str], list[tuple[str, str]]]:
    """Instructions in a teacher's answer, and dropped ones with their reasons.

    Args:
        text: The answer.
        call: The call that it answers.
        max_words: Most words of an instruction.
        parser: As in the block.
        ended: Whether the teacher ended the answer by itself; the last item of a cut one may be incomplete.
    """
    if parser == "opened_tag":
        text = completed(text, ended)
    items, unclosed = numbered(text, ended) if parser == "numbered_list" else tagged(text)
    kept: list[str] = []
    dropped = [("unclosed", start) for start in unclosed]
    echoes = {normalized(row.instruction) for row in call.examples}
    for item in items:
        instruction = NUMBERING.sub("", item).strip()
        if not instruction:
            dropped.append(("empty", item))
        elif normalized(instruction) in echoes:
            dropped.append(("echo of an example", instruction))
        elif len(instruction.split()) > max_words:
            dropped.append(("too many words", instruction))
        else:
            kept.append(instruction)
    return kept, dropped


def list_instructions(
    calls: list[ListingCall], teacher: Backend, block: Lamini, templates: dict[str, str]
) -> tuple[list[Listed], list[DroppedRow], int]:
    """New instructions of all calls without duplicates; dropped ones; and the number of items that were read.

    A call that yields fewer than `min_instructions` is repeated, up to `max_attempts` tries; its instructions are
    dropped, and counted in addition to the answer itself. If a call yields too many, the first ones are kept.
    """
    found: dict[str, Listed] = {}
    dropped: list[DroppedRow] = []
    seen, waiting = 0, calls
    for attempt in range(block.max_attempts):
        requests = [
            ask(
                f"list:{call.number}:{attempt}",
                listing_prompt(call, block, templates),
                block.sampling,
                sample=str(attempt),
            )
            for call in waiting
        ]
        again = []
        for call, answer in zip(waiting, teacher.complete(requests, "list instructions"), strict=True):
            ended = answer.finish_reason == "stop"
            kept, refused = listed(answer.text, call, block.max_words, block.parser, ended=ended)
            if len(kept) < block.min_instructions:
                kept, refused = [], refused + [("of too few", instruction) for instruction in kept]
                last = answer.fault == "error" or attempt + 1 == block.max_attempts
                if not last:
                    again.append(call)
                seen += 1
                dropped.append(_too_few(answer, call, last=last))
            kept, more = kept[: block.instructions_per_call], kept[block.instructions_per_call :]
            refused += [("more than asked", instruction) for instruction in more]
            seen += len(kept) + len(refused)
            dropped += [dropped_row(reason, text, call=call.number) for reason, text in refused]
            for instruction in kept:
                if normalized(instruction) in found:
                    dropped.append(dropped_row("duplicate", instruction, call=call.number))
                else:
                    found[normalized(instruction)] = Listed(instruction, call)
        waiting = again
    return list(found.values()), dropped, seen


def _too_few(answer: Completion, call: ListingCall, *, last: bool) -> DroppedRow:
    """A listing call without enough instructions in its answer."""
    if not last:
        return dropped_row("asked again", answer.text, call=call.number)
    if answer.fault:
        return failed_row(answer, call=call.number)
    return dropped_row("too few instructions", answer.text, call=call.number)


def id_of(item: Listed) -> str:
    """A row's id; equal instructions of several schemes share it."""
    return row_id("lamini", item.instruction)


def answered(
    items: list[Listed], teacher: Backend, block: Lamini, templates: dict[str, str], scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """Each instruction with the teacher's concise answer; and those without an answer."""
    requests = [
        ask(f"answer:{id_of(item)}", item.instruction, block.sampling, templates["answer_system"]) for item in items
    ]
    rows: list[GeneratedRow] = []
    failed: list[DroppedRow] = []
    for item, request, answer in zip(items, requests, teacher.complete(requests, "answer instructions"), strict=True):
        if answer.fault:
            failed.append(failed_row(answer, instruction=item.instruction, call=item.call.number))
            continue
        name = id_of(item)
        rows.append(
            GeneratedRow(
                id=name,
                scheme=scheme,
                seed_id=None,
                root_id=name,
                parent_ids=[row.id for row in item.call.examples],
                operation=LABELS[bool(item.call.topics)],
                round=0,
                category=None,
                topics=list(item.call.topics),
                system=None,
                instruction=item.instruction,
                response=answer.text,
                teacher=answer.model,
                prompt_hash=request.prompt_hash,
                finish_reason=answer.finish_reason,
            )
        )
    return rows, failed


def made(
    calls: list[ListingCall], teacher: Backend, block: Lamini, templates: dict[str, str], scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow], int]:
    """A shard's rows, dropped and failed ones, and the number of candidates."""
    items, dropped, seen = list_instructions(calls, teacher, block, templates)
    rows, failed = answered(items, teacher, block, templates, scheme)
    return rows, dropped + failed, seen
