"""Instruct-SkillMix: a teacher names skills once, then writes a request for each random pair of them, and answers it.

Scheme: Kaur et al. 2024 (arXiv:2408.14774), in its variant that takes skills from examples. Compared with
princeton-pli/Instruct-SkillMix at 04e130ea37a3b365d531a1076a1afe1cb91b68df, `src/data_generation`, which draws from
files of skills and query types. We differ: the request and its answer are two calls, where their teacher writes both
and refines them in one conversation; the draws of a row depend on its number, so that a new skill changes few rows;
query types are drawn with replacement, where theirs are dealt evenly; and the prompts are our own texts.
"""

import random
from collections.abc import Iterable, Iterator
from math import ceil
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from bezoar.blocks import Name, Reference
from bezoar.errors import InputError, problem
from bezoar.requests.base import Backend, ask
from bezoar.requests.demand import Demand, Known
from bezoar.steps import prompts
from bezoar.steps.data.lots import Lots
from bezoar.steps.data.rows import DroppedRow, GeneratedRow, Row, normalized, row_id
from bezoar.steps.generate.scheme import SchemeBlock, dropped_row, failed_row
from bezoar.steps.generate.skill_list import Listing, SkillRow
from bezoar.steps.seeded import Seeded

QUERY_TYPES = [
    "a question about facts",
    "a call for help with a problem",
    "a request for instructions, step by step",
    "a comparison, or a decision between options",
    "a piece of writing to be done",
    "a plan to be made",
    "a text, code or numbers to be checked or explained",
]


class Drawing(Seeded):
    """What the draws of rows depend on."""

    section: ClassVar[str] = "schemes"

    rows: int = Field(ge=1, description="Rows to write, over all shards. The paper has 4,000.")
    skills_per_row: int = Field(2, ge=1, description="Skills that a row combines. Default: the paper.")
    query_types: list[Annotated[str, Field(min_length=1)]] = Field(
        QUERY_TYPES, min_length=1, description="What kind of request a row is; one is drawn for each."
    )


class Skillmix(Listing, Drawing, SchemeBlock):
    """Instruct-SkillMix (Kaur et al. 2024, arXiv:2408.14774): requests that combine random skills."""

    rules: ClassVar[tuple[str, ...]] = ("skills", "shard", "generate")
    deals: ClassVar[tuple[str, ...]] = tuple(Drawing.model_fields)
    asks: ClassVar[dict[str, tuple[str, ...]]] = {"skills": ("teacher",), "generate": ("teacher",)}

    method: Literal["skillmix"]
    seeds: Annotated[Name, Reference(("sources",), "no such source", formats=("seed_tasks", "dolly"))] = Field(
        description="Source of the instructions whose skills are named."
    )
    max_characters: int = Field(4000, ge=1, description="Most characters of an instruction.")

    def candidates_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """One for each of its draws."""
        return ceil(self.rows / shards)

    def requests_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """The instruction of each draw, and its answer."""
        return 2 * ceil(self.rows / shards)

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """The requests of a shard, or those for the list of skills, which reads the seeds."""
        if any(path.startswith("data/seed/") for path in inputs):
            return super().demand(inputs, known, key)
        return Demand(self.skill_calls, known.tokens(self.prompts) + 200 * self.examples_per_call, self.sampling)


class Draw(Row):
    """The skills and the kind of request of one row."""

    number: int
    skills: tuple[str, ...]
    query_type: str


def dealt(skills: Iterable[SkillRow], block: Drawing, seed: int, shards: int) -> Iterator[tuple[int, str, Draw]]:
    """All draws, each with its shard's number and its place there: shards take turns.

    Raises:
        ValueError: There are fewer skills than a row combines.
    """
    rows = list(skills)
    if len(rows) < block.skills_per_row:
        found, expected = f"{len(rows):,} skills", f"{block.skills_per_row} or more, as `skills_per_row` says"
        raise InputError(problem("too few skills", found=found, expected=expected, hint="ask for more: `skill_calls`"))
    lots = Lots([row.id for row in rows])
    for number in range(block.rows):
        name = f"{seed}:skillmix:{number}"
        chosen = tuple(rows[place].skill for place in lots.draw(name, block.skills_per_row))
        draw = Draw(number=number, skills=chosen, query_type=random.Random(name).choice(block.query_types))
        yield number % shards, f"{number:012d}", draw


def made(
    draws: list[Draw], teacher: Backend, block: Skillmix, templates: dict[str, str], scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """A shard's rows, and the draws that gave none, with reasons."""
    written, dropped = _instructions(draws, teacher, block, templates)
    requests = [
        ask(f"answer:{row_id('skillmix', text)}", text, block.sampling, templates["answer_system"]) for text in written
    ]
    rows: list[GeneratedRow] = []
    answers = teacher.complete(requests, "answer instructions")
    for (text, draw), request, answer in zip(written.items(), requests, answers, strict=True):
        if answer.fault:
            dropped.append(failed_row(answer, instruction=text, **draw.model_dump()))
            continue
        name = row_id("skillmix", text)
        columns: dict[str, Any] = {"seed_id": None, "category": None, "system": None, "round": 0, "parent_ids": []}
        columns |= {"operation": draw.query_type, "topics": list(draw.skills), "teacher": answer.model}
        columns |= {"prompt_hash": request.prompt_hash, "finish_reason": answer.finish_reason}
        rows.append(
            GeneratedRow(id=name, root_id=name, scheme=scheme, instruction=text, response=answer.text, **columns)
        )
    return rows, dropped


def _instructions(
    draws: list[Draw], teacher: Backend, block: Skillmix, templates: dict[str, str]
) -> tuple[dict[str, Draw], list[DroppedRow]]:
    """Each instruction once, with its draw; and the draws without one."""
    requests = [
        ask(
            f"write:{draw.number}",
            prompts.fill(
                templates["instruction"],
                skills="\n".join(f"- {skill}" for skill in draw.skills),
                query_type=draw.query_type,
            ),
            block.sampling,
            sample=str(draw.number),
        )
        for draw in draws
    ]
    found: dict[str, Draw] = {}
    dropped: list[DroppedRow] = []
    known: set[str] = set()
    for draw, answer in zip(draws, teacher.complete(requests, "write instructions"), strict=True):
        if answer.fault:
            dropped.append(failed_row(answer, **draw.model_dump()))
        elif len(answer.text) > block.max_characters:
            detail = f"{len(answer.text):,} characters"
            dropped.append(dropped_row("too long", detail, **draw.model_dump()))
        elif normalized(answer.text) in known:
            dropped.append(dropped_row("duplicate", answer.text, **draw.model_dump()))
        else:
            known.add(normalized(answer.text))
            found[answer.text] = draw
    return found, dropped
