"""LaMini: a teacher lists new instructions like some examples, with and without topics, then answers each.

Scheme: LaMini-LM (Wu et al. 2023, arXiv:2304.14402), section 2. No code of this step is published: compared with
mbzuai-nlp/LaMini-LM at 48cfa492b642fc22c63cadf7b1d3588882c92cd1 as described in its README. We differ: the mode and the
examples of a call are drawn from a generator seeded by the call's number, a call that yields too few instructions is
asked again, the prompts are our own texts, and of the README's seven kinds of rows only two are made,
self_instruct_with_topic and self_instruct_without_topic.
"""

import random
import re
from dataclasses import dataclass
from math import floor
from pathlib import Path

from bezoar import generation, prompts
from bezoar.backends import Backend, Completion, ask, open_backend
from bezoar.params.data import Lamini
from bezoar.rows import DroppedRow, GeneratedRow, SeedRow, folded, read_lines, read_rows, row_id
from bezoar.script import run

TAG = re.compile(r"<\s*(/?)\s*example\s*>", re.IGNORECASE)
TAGGED = re.compile(r"<example>(.*?)</example>", re.DOTALL)
# of a list: 3.5, 7:30 or -2 is none, and neither is a year
NUMBERING = re.compile(r"^\s*(?:\d{1,2}\s*[.):](?!\d)\s*|[-*•]\s+)")
LABELS = {True: "self_instruct_with_topic", False: "self_instruct_without_topic"}  # LaMini-LM's own labels


@dataclass(frozen=True)
class Call:
    """One listing call."""

    number: int
    examples: tuple[SeedRow, ...]
    topics: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """An instruction that a call listed."""

    instruction: str
    call: Call


def read_topics(path: Path) -> list[str]:
    """The topics of a file, one a line.

    Raises:
        ValueError: It has none.
    """
    topics = [line.strip() for _, line in read_lines(path) if line.strip()]
    if not topics:
        raise ValueError(f"{path}: no topic\n  found:    an empty file\n  expected: one topic a line, or topics: null")
    return topics


def calls_of(seeds: list[SeedRow], topics: list[str], block: Lamini, seed: int, shard: int, shards: int) -> list[Call]:
    """The listing calls of a shard: of all `block.calls`, every `shards`-th from the shard's number on."""
    if not seeds:
        return []
    calls = []
    for number in range(shard, block.calls, shards):
        generator = random.Random(f"{seed}:lamini:{number}")
        examples = generator.sample(seeds, k=min(block.examples_per_prompt, len(seeds)))
        turn = number // shards  # of the shard's own calls, so that every shard has its share of guided ones
        guided = bool(topics) and floor((turn + 1) * block.topic_share) > floor(turn * block.topic_share)
        drawn = generator.sample(topics, k=min(block.topics_per_prompt, len(topics))) if guided else []
        calls.append(Call(number, tuple(examples), tuple(drawn)))
    return calls


def listing_prompt(call: Call, block: Lamini, templates: dict[str, str]) -> str:
    """What the teacher is asked in a call."""
    examples = "\n".join(f"<example>{row.instruction}</example>" for row in call.examples)
    name = "topic_guided" if call.topics else "example_guided"
    count = str(block.instructions_per_call)
    return prompts.fill(templates[name], examples=examples, topics=", ".join(call.topics), count=count)


def listed(text: str, call: Call, most_words: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Instructions in a teacher's answer, and those that were dropped with their reasons.

    Only text inside complete tag pairs counts; an item without its end is dropped as `unclosed`.
    """
    text = TAG.sub(r"<\1example>", text)
    kept: list[str] = []
    dropped: list[tuple[str, str]] = []
    echoes = {folded(row.instruction) for row in call.examples}
    for found in TAGGED.findall(text):
        *unclosed, item = found.split("<example>")
        dropped += [("unclosed", start) for start in unclosed]
        instruction = NUMBERING.sub("", item).strip()
        if not instruction:
            dropped.append(("empty", item))
        elif folded(instruction) in echoes:
            dropped.append(("echo of an example", instruction))
        elif len(instruction.split()) > most_words:
            dropped.append(("too many words", instruction))
        else:
            kept.append(instruction)
    if text.rfind("<example>") > text.rfind("</example>"):
        dropped.append(("unclosed", text[text.rfind("<example>") :]))
    return kept, dropped


def list_instructions(
    calls: list[Call], teacher: Backend, block: Lamini, templates: dict[str, str]
) -> tuple[list[Listed], list[DroppedRow], int]:
    """New instructions of all calls, none twice; what was dropped; and the number of items that were read.

    A call that yields fewer than `fewest_instructions` is asked again, at most `attempts` times; what it listed is
    dropped, and counted beside the answer itself. Of one that yields more than it was asked for, the first are kept.
    """
    found: dict[str, Listed] = {}
    dropped: list[DroppedRow] = []
    seen, waiting = 0, calls
    for attempt in range(block.attempts):
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
            kept, refused = listed(answer.text, call, block.most_words)
            if len(kept) < block.fewest_instructions:
                kept, refused = [], refused + [("of too few", instruction) for instruction in kept]
                last = answer.fault == "error" or attempt + 1 == block.attempts
                if not last:
                    again.append(call)
                seen += 1
                dropped.append(_too_few(answer, call, last=last))
            kept, more = kept[: block.instructions_per_call], kept[block.instructions_per_call :]
            refused += [("more than asked", instruction) for instruction in more]
            seen += len(kept) + len(refused)
            dropped += [generation.dropped_row(reason, text, call=call.number) for reason, text in refused]
            for instruction in kept:
                if folded(instruction) in found:
                    dropped.append(generation.dropped_row("duplicate", instruction, call=call.number))
                else:
                    found[folded(instruction)] = Listed(instruction, call)
        waiting = again
    return list(found.values()), dropped, seen


def _too_few(answer: Completion, call: Call, *, last: bool) -> DroppedRow:
    """A listing call without enough instructions in its answer."""
    if not last:
        return generation.dropped_row("asked again", answer.text, call=call.number)
    if answer.fault:
        return generation.failed_row(answer, call=call.number)
    return generation.dropped_row("too few instructions", answer.text, call=call.number)


def id_of(item: Listed) -> str:
    """A row's id: schemes that list the same instruction share it."""
    return row_id("lamini", item.instruction)


def answered(
    items: list[Listed], teacher: Backend, block: Lamini, templates: dict[str, str], scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """Each listed instruction with the teacher's answer, which is asked to be concise; and those without one."""
    requests = [
        ask(f"answer:{id_of(item)}", item.instruction, block.sampling, templates["answer_system"]) for item in items
    ]
    rows: list[GeneratedRow] = []
    failed: list[DroppedRow] = []
    for item, request, answer in zip(items, requests, teacher.complete(requests, "answer instructions"), strict=True):
        if answer.fault:
            failed.append(generation.failed_row(answer, instruction=item.instruction, call=item.call.number))
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


def main(argv: list[str] | None = None) -> None:
    args, (block, backend, prompt, seed, shards, budget) = generation.flags(__doc__).start(argv)
    templates = prompts.load(args.prompts, prompts.LAMINI)
    topics = read_topics(args.topics) if args.topics else []
    seeds = list(read_rows(args.seeds, SeedRow))
    number, scheme = int(args.out.name), args.out.parent.name
    calls = calls_of(seeds, topics, block, seed, number, shards)
    teacher = open_backend(backend, checkpoint=args.teacher, system=prompt.system, seed=seed, budget=budget)
    items, dropped, seen = list_instructions(calls, teacher, block, templates)
    rows, failed = answered(items, teacher, block, templates, scheme)
    generation.write_shard(args, rows, dropped + failed, seen, block)


if __name__ == "__main__":
    run(main)
