"""Orca: a teacher answers a task's query with an explanation, under a system message.

Scheme: Orca (Mukherjee et al. 2023, arXiv:2306.02707), sections 3.1 and 3.2; compared with the paper only.
We differ: the message is drawn from a generator seeded by the row, queries are drawn from each collection task by task
in turn, and the system messages of our prompt files are our own texts.
"""

import random
import re
from collections.abc import Mapping
from itertools import chain, zip_longest
from math import ceil, floor
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

from bezoar.blocks import FilePath, Name, Reference, Share
from bezoar.errors import InputError, problem
from bezoar.problems import read_yaml
from bezoar.requests.base import Backend, Request
from bezoar.steps.data import accounting
from bezoar.steps.data.rows import DroppedRow, GeneratedRow, SeedRow, rank, row_id
from bezoar.steps.generate.scheme import SchemeBlock, dropped_row, failed_row
from bezoar.steps.seeded import Seeded

SLACK_OF_SHARES = 0.01  # published shares are rounded
CHOICES = re.compile(r"\boptions?\s*:", re.IGNORECASE)


class Drawing(Seeded):
    """What the draw of Orca's queries depends on."""

    section: ClassVar[str] = "schemes"

    templates: list[Literal["zs_opt", "zs_noopt", "fs_opt", "fs_noopt"]] = Field(
        ["zs_opt", "zs_noopt"], min_length=1, description="Default: zero-shot, the paper, section 3.1."
    )
    shares: dict[str, Share] | None = Field(
        None, description="Share of candidates by task_source; null takes rows as they come."
    )
    candidates: int | None = Field(None, ge=1, description="Candidates over all shards; null takes every seed row.")
    max_missing_share: Share = Field(
        0.75, description="Share of `candidates` that may be missing, where collections have fewer rows than theirs."
    )

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        if shares is not None and abs(sum(shares.values()) - 1) > SLACK_OF_SHARES:
            found = f"{sum(shares.values()):.4g}"
            raise PydanticCustomError("shares", "shares that sum to 1, and these sum to {found}", {"found": found})
        return shares


class Orca(Drawing, SchemeBlock):
    """Orca (Mukherjee et al. 2023, arXiv:2306.02707): explanations under a system message."""

    deals: ClassVar[tuple[str, ...]] = tuple(Drawing.model_fields)

    method: Literal["orca"]
    prompts: FilePath = Field(description="Prompt file of the scheme.")
    seeds: Annotated[Name, Reference(("sources",), "no such source", formats=("flan",))] = Field(
        description="Source of the queries."
    )
    max_characters: int = Field(4000, ge=1, description="Most characters of system message and input together.")

    def candidates_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """The most queries of the shard."""
        wanted = self.candidates if self.candidates is not None else seeds
        return None if wanted is None else ceil(wanted / shards)


class SystemMessage(BaseModel):
    """A system message, and the queries that it applies to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    text: str
    applies_to: list[str]
    multiple_choice_only: bool


class OrcaPrompts(BaseModel):
    """A scheme's prompt file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    messages: list[SystemMessage] = Field(min_length=1)


def system_messages(path: Path) -> list[SystemMessage]:
    """The `messages` of a prompt file.

    Raises:
        ValueError: A message doesn't have the fields of SystemMessage.
    """
    return read_yaml(path, OrcaPrompts).messages


class Query(NamedTuple):
    """What a seed row is drawn by."""

    id: str
    task_source: str | None
    task_name: str | None
    template_type: str | None

    @classmethod
    def of(cls, row: SeedRow) -> "Query":
        """Of a row."""
        return cls(row.id, row.task_source, row.task_name, row.template_type)


def drawn(rows: list[Query], block: Drawing, seed: int) -> list[Query]:
    """The queries of all shards: of the wanted templates, in each collection's share, tasks in turn.

    If a collection has fewer rows than its share, all of them are taken, and no other collection replaces them.

    Raises:
        ValueError: A collection with a share of one query or more has no row, or no row is of a wanted template. Or
            there are far fewer queries than wanted.
    """
    wanted = [row for row in rows if row.template_type in block.templates]
    if rows and not wanted:
        raise InputError(
            problem(
                "templates: no row is of a wanted template",
                found=", ".join(sorted({str(row.template_type) for row in rows})),
                expected=", ".join(block.templates),
            )
        )
    if block.candidates is None:
        return wanted
    queries: list[Query] = []
    for collection, number in numbers_of(block.candidates, block.shares or {"": 1.0}).items():
        if number and rows and collection and all(row.task_source != collection for row in rows):
            raise InputError(
                problem(
                    f"shares: no row is of the collection {collection}",
                    found=", ".join(sorted({str(row.task_source) for row in rows})),
                    expected=f"rows of {collection}, {number:,} of them",
                    hint="name collections as the rows' task_source does, or take more seed rows",
                )
            )
        members = [row for row in wanted if collection in ("", row.task_source)]
        queries += _tasks_in_turn(members, seed)[:number]
    accounting.check_enough(
        "orca: candidates",
        len(queries),
        block.candidates,
        block.max_missing_share,
        key="max_missing_share",
        hint="take more seed rows, or ask for fewer candidates",
    )
    return queries


def numbers_of(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """A whole number for each share; they sum to the total, and the largest remainders are rounded up."""
    whole = sum(shares.values())
    exact = {name: total * share / whole for name, share in shares.items()}
    numbers = {name: floor(number) for name, number in exact.items()}
    by_remainder = sorted(shares, key=lambda name: (numbers[name] - exact[name], name))
    for name in by_remainder[: total - sum(numbers.values())]:
        numbers[name] += 1
    return numbers


def unused(rows: list[Query], queries: list[Query], block: Drawing) -> dict[str, int]:
    """Counts of unused seed rows by reason."""
    unwanted = sum(row.template_type not in block.templates for row in rows)
    counts = {"template not wanted": unwanted, "beyond its share": len(rows) - unwanted - len(queries)}
    accounting.check_conserved("orca: seed rows", len(rows), len(queries), counts)
    return counts


def _tasks_in_turn(rows: list[Query], seed: int) -> list[Query]:
    """Rows in the order task 1, task 2, ..., task 1, ...; within a task in the order of a hash of seed and id."""
    tasks: dict[str, list[Query]] = {}
    for row in sorted(rows, key=lambda row: rank(seed, row.id)):
        tasks.setdefault(row.task_name or "", []).append(row)
    in_turn = chain.from_iterable(zip_longest(*(tasks[name] for name in sorted(tasks))))
    return [row for row in in_turn if row is not None]


def message_of(row: SeedRow, messages: list[SystemMessage], seed: int) -> SystemMessage:
    """The system message of a row, drawn uniformly from those that apply to it.

    Raises:
        ValueError: None applies.
    """
    choices = CHOICES.search(row.instruction) is not None
    allowed = [
        one for one in messages if row.task_source in one.applies_to and (choices or not one.multiple_choice_only)
    ]
    if not allowed:
        known = ", ".join(sorted({source for one in messages for source in one.applies_to})) or "none"
        raise InputError(
            problem(
                "no system message applies to a row",
                found=f"source {row.task_source}",
                expected=f"a source of a message's applies_to: {known}",
                hint="list it under applies_to",
            )
        )
    return random.Random(f"{seed}:{row.id}").choice(allowed)


def explained(
    queries: list[SeedRow], messages: list[SystemMessage], teacher: Backend, block: Orca, seed: int, scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """Each query with a system message and the teacher's explained answer; the data set's target is never shown."""
    asked = [(row, message_of(row, messages, seed)) for row in queries]
    short: list[tuple[SeedRow, SystemMessage]] = []
    dropped: list[DroppedRow] = []
    for row, one in asked:
        characters = len(row.instruction) + len(one.text)
        if characters <= block.max_characters:
            short.append((row, one))
        else:
            dropped.append(dropped_row("too long", f"{characters:,} characters", seed_id=row.id))
    requests = [
        Request(f"explain:{row.id}:{one.id}", (("system", one.text), ("user", row.instruction)), block.sampling)
        if one.text
        else Request(f"explain:{row.id}", (("user", row.instruction),), block.sampling)
        for row, one in short
    ]
    rows: list[GeneratedRow] = []
    answers = teacher.complete(requests, "explain answers")
    for (row, one), request, answer in zip(short, requests, answers, strict=True):
        if answer.fault:
            dropped.append(failed_row(answer, seed_id=row.id, operation=one.id))
            continue
        rows.append(
            GeneratedRow(
                id=row_id("orca", row.id, one.id),
                scheme=scheme,
                seed_id=row.id,
                root_id=row.id,
                parent_ids=[row.id],
                operation=one.id,
                round=0,
                category=row.task_name,
                topics=[],
                system=one.text or None,
                instruction=row.instruction,
                response=answer.text,
                teacher=answer.model,
                prompt_hash=request.prompt_hash,
                finish_reason=answer.finish_reason,
            )
        )
    return rows, dropped
