"""Scores by a judge: it rates each answer from 1 to 10, as in self-rewarding models and LLM-as-a-judge.

Protocol: single-answer grading of Zheng et al. 2023 (arXiv:2306.05685); a text between two lines that its author can't
know, as the filter has it, and the last rating in double brackets counts.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from bezoar.blocks import BackendName, FilePath, Sampling
from bezoar.requests.base import Backend, Completion, Request, Subject, ask
from bezoar.requests.demand import Demand, Known
from bezoar.steps import prompts
from bezoar.steps.data.rows import GeneratedRow
from bezoar.steps.evaluate.mtbench import holds_rating, rating
from bezoar.steps.score.block import ScoreBlock
from bezoar.steps.score.scoring import Scored

TEMPLATES = {"system": (), "user": ("fence", "instruction", "response")}


class JudgeScore(ScoreBlock):
    """A judge's rating of each answer, from 1 to 10."""

    asks: ClassVar[dict[str, tuple[str, ...]]] = {"score": ("judge",)}

    method: Literal["judge"]
    judge: BackendName = Field(description="Backend that rates.")
    prompts: FilePath = Field(description="Prompt file with `system` and `user`.")
    sampling: Sampling = Sampling()
    max_attempts: int = Field(2, ge=1, description="Most tries of a rating that can't be read.")

    def demand(self, inputs: Iterable[str], known: Known, key: str) -> Demand:
        """The requests of a shard: a rating of each row."""
        calls = known.lines(path for path in inputs if path.endswith(("/rows.jsonl", "/kept.jsonl")))
        calls = known.candidates(self.of) if calls is None else calls
        return Demand(calls, known.tokens(self.prompts) + 2 * known.longest_answer(self.of), self.sampling)


def judged(
    rows: list[GeneratedRow], judge: Backend, block: JudgeScore, templates: dict[str, str], seed: int
) -> list[Scored]:
    """A rating of each row; one that can't be read is asked for again.

    Args:
        rows: The rows.
        judge: The judge.
        block: The block.
        templates: Of the prompt file.
        seed: The recipe's.
    """
    found: dict[int, Scored] = {}
    waiting = list(range(len(rows)))
    for attempt in range(block.max_attempts):
        requests = [_request(rows[place], block, templates, attempt, seed) for place in waiting]
        answers = judge.complete(requests, "rate answers")
        found |= {
            place: _scored(rows[place], request, answer)
            for place, request, answer in zip(waiting, requests, answers, strict=True)
        }
        waiting = [place for place in waiting if found[place].fault == "unreadable rating"]
    return [found[place] for place in range(len(rows))]


def _request(row: GeneratedRow, block: JudgeScore, templates: dict[str, str], attempt: int, seed: int) -> Request:
    quoted = {"instruction": row.instruction, "response": row.response}
    fence = prompts.fence(seed, f"score:{row.id}", *quoted.values())
    user = prompts.fill(templates["user"], fence=fence, **quoted)
    request = ask(f"score:{row.id}:{attempt}", user, block.sampling, templates["system"], sample=str(attempt))
    return replace(request, subject=Subject((row.instruction,), row.response))


def _scored(row: GeneratedRow, request: Request, answer: Completion) -> Scored:
    score, _ = rating(answer.text, may_quote=holds_rating([row.instruction, row.response]))
    if answer.fault or score is None:
        fault, detail = answer.fault or "unreadable rating", answer.error or answer.text
        return Scored(None, answer.model, request.prompt_hash, fault, detail)
    return Scored(score, answer.model, request.prompt_hash)
