"""Critique and revision: a model criticises an answer, and the same or another one revises it by that critique.

Scheme: Constitutional AI (Bai et al. 2022, arXiv:2212.08073), section 3.1. We differ: one critique and one revision by
the texts of a prompt file, without a sampled principle and without examples; a round more is one more such scheme, with
this one's rows as seeds. The pairs of `method: revision` are each revised answer with the answer that it was.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import ceil
from typing import ClassVar, Literal

from pydantic import Field

from bezoar.blocks import FilePath, Sampling, TeacherName
from bezoar.requests.base import Backend, Completion, Request
from bezoar.requests.demand import Demand, Known
from bezoar.steps import prompts
from bezoar.steps.data.rows import DroppedRow, GeneratedRow, row_id
from bezoar.steps.generate.scheme import SchemeBlock, Seeds, dropped_row, failed_row
from bezoar.steps.generate.seeds import PromptRow

CUT = "cut at the token limit"
EQUAL = "revision equals the answer"


class Revise(SchemeBlock):
    """Critique and revision (Bai et al. 2022, arXiv:2212.08073) of answers; its filter may be left out."""

    asks: ClassVar[dict[str, tuple[str, ...]]] = {"generate": ("teacher", "critic")}
    judged: ClassVar[bool] = False

    method: Literal["revise"]
    seeds: Seeds = Field(description="Rows with the answers to revise.")
    prompts: FilePath = Field(description="Prompt file with `critique` and `revision`.")
    sampling: Sampling = Sampling(temperature=0.7)
    critic: TeacherName | None = Field(None, description="Backend that criticises; null for the teacher.")
    max_characters: int = Field(4000, ge=1, description="Most characters of an instruction with its answer.")

    def candidates_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """A revision of each answer."""
        return None if seeds is None else ceil(seeds / shards)

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """The requests of a shard to the teacher, or to the other backend that criticises."""
        demand = super().demand(inputs, known, key)
        twice = self.critic in (None, self.teacher)
        prompt = demand.prompt_tokens + self.sampling.max_new_tokens  # a revision's prompt has the critique
        return replace(demand, calls=demand.calls and demand.calls * (1 + twice), prompt_tokens=prompt)


def revised(
    seeds: list[PromptRow], teacher: Backend, critic: Backend, block: Revise, templates: dict[str, str], scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """Each answer revised, and the answers that gave no revision.

    Args:
        seeds: Prompts with answers.
        teacher: Revises.
        critic: Criticises.
        block: The scheme.
        templates: Of the prompt file.
        scheme: Its name.
    """
    rows: list[GeneratedRow] = []
    dropped: list[DroppedRow] = []
    short = []
    for row in seeds:
        length = len(row.instruction) + len(row.response or "")
        if length <= block.max_characters:
            short.append(row)
        else:
            dropped.append(dropped_row("too long", f"{length:,} characters", seed_id=row.id))
    requests = [_request("critique", row, block.sampling, templates) for row in short]
    criticised = []
    for row, answer in zip(short, critic.complete(requests, "criticise answers"), strict=True):
        if answer.fault:
            dropped.append(_without(answer, row, "critique"))
        else:
            criticised.append((row, answer.text))
    requests = [_request("revision", row, block.sampling, templates, critique=text) for row, text in criticised]
    answers = teacher.complete(requests, "revise answers")
    for (row, _), request, answer in zip(criticised, requests, answers, strict=True):
        if answer.fault:
            dropped.append(_without(answer, row, "revision"))
        elif answer.text == row.response:
            dropped.append(dropped_row(EQUAL, answer.text, seed_id=row.id))
        else:
            rows.append(_row(row, request, answer, scheme))
    return rows, dropped


def _request(what: str, row: PromptRow, sampling: Sampling, templates: dict[str, str], **slots: str) -> Request:
    head = () if row.system is None else (("system", row.system),)
    text = prompts.fill(templates[what], instruction=row.instruction, response=row.response or "", **slots)
    return Request(f"{what}:{row.id}", (*head, ("user", text)), sampling)


def _without(answer: Completion, row: PromptRow, what: str) -> DroppedRow:
    """An answer whose critique or revision can't be used."""
    if answer.fault == "length":
        return dropped_row(f"{what} {CUT}", answer.text, seed_id=row.id)
    return failed_row(answer, seed_id=row.id, step=what)


def _row(row: PromptRow, request: Request, answer: Completion, scheme: str) -> GeneratedRow:
    return GeneratedRow(
        id=row_id("revise", row.id, answer.text),
        scheme=scheme,
        seed_id=row.id,
        root_id=row.root_id,
        parent_ids=[row.id],
        operation="revise",
        round=0,
        category=row.category,
        topics=[],
        system=row.system,
        instruction=row.instruction,
        response=answer.text,
        teacher=answer.model,
        prompt_hash=request.prompt_hash,
        finish_reason=answer.finish_reason,
    )
