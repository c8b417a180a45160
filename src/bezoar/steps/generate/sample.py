"""Sample: a model answers the prompts of a source or of another scheme's rows, each n times.

With the current checkpoint as teacher it is the first half of an iterated method: its answers are scored, or compared
with the seeds' own, and make pairs (SPIN, Chen et al. 2024, arXiv:2401.01335, algorithm 1; SPPO, Wu et al. 2024,
arXiv:2405.00675, algorithm 1). An answer that is cut at the token limit is dropped: a model that is trained on cut
answers learns to write them.
"""

from math import ceil
from typing import ClassVar, Literal

from pydantic import Field

from bezoar.blocks import Sampling
from bezoar.requests.base import Backend, Request
from bezoar.steps.data.rows import DroppedRow, GeneratedRow, row_id
from bezoar.steps.generate.scheme import SchemeBlock, Seeds, dropped_row, failed_row
from bezoar.steps.generate.seeds import PromptRow

CUT = "cut at the token limit"


class Sample(SchemeBlock):
    """Answers of a model, such as the current checkpoint, to prompts of one turn; its filter may be left out."""

    judged: ClassVar[bool] = False

    method: Literal["sample"]
    seeds: Seeds = Field(description="Rows with the prompts; one row of each prompt is used.")
    prompts: None = Field(None, description="Null: the prompts are those of the seeds.")
    sampling: Sampling = Field(
        Sampling(temperature=1.0), description="Default: the model's own distribution, as SPIN's equation 4.1 has it."
    )
    n: int = Field(1, ge=1, description="Answers to each prompt.")

    def candidates_of_a_shard(self, seeds: int | None, shards: int) -> int | None:
        """All answers to the shard's prompts."""
        return None if seeds is None else ceil(seeds / shards) * self.n


def sampled(
    seeds: list[PromptRow], teacher: Backend, block: Sample, scheme: str
) -> tuple[list[GeneratedRow], list[DroppedRow]]:
    """The answers to each prompt, and those that can't be used.

    A draw depends on the recipe's seed, the prompt's id and the answer's number: not on the names of blocks.
    """
    asked = [(row, number) for row in seeds for number in range(block.n)]
    requests = [_request(row, number, block.sampling) for row, number in asked]
    rows: list[GeneratedRow] = []
    dropped: list[DroppedRow] = []
    answers = teacher.complete(requests, "sample answers")
    for (row, number), request, answer in zip(asked, requests, answers, strict=True):
        facts = {"seed_id": row.id, "instruction": row.instruction, "number": number}
        if answer.fault == "length":
            dropped.append(dropped_row(CUT, answer.text, **facts))
        elif answer.fault:
            dropped.append(failed_row(answer, **facts))
        else:
            rows.append(
                GeneratedRow(
                    id=row_id("sample", row.id, str(number), answer.text),
                    scheme=scheme,
                    seed_id=row.id,
                    root_id=row.root_id,
                    parent_ids=[row.id],
                    operation="sample",
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
            )
    return rows, dropped


def _request(row: PromptRow, number: int, sampling: Sampling) -> Request:
    head = () if row.system is None else (("system", row.system),)
    messages = (*head, ("user", row.instruction))
    return Request(f"sample:{row.id}:{number}", messages, sampling, sample=str(number))
