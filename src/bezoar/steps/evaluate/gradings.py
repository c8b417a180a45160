"""Jobs of the method `rubric`: a judge's gradings of a model's answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bezoar.blocks import NamedBlock, Sampling
from bezoar.errors import InputError, problem
from bezoar.files import artifact, digest, sha256
from bezoar.logs import logger
from bezoar.requests.base import Backend, Completion, Request, Subject
from bezoar.requests.blocks import BackendBlock
from bezoar.steps import prompts
from bezoar.steps.data.rows import AnswerRow, read_rows, write_rows
from bezoar.steps.evaluate import grades, mtbench, rubric
from bezoar.steps.evaluate.grades import Graded
from bezoar.steps.evaluate.questions import read_questions
from bezoar.steps.evaluate.rubric import RubricRow


class Grading(NamedBlock):
    """The keys of an evaluation that gradings depend on."""

    section: ClassVar[str] = "evals"

    judge_sampling: Sampling
    reference_categories: list[str] | None
    max_attempts: int
    repeats: int
    max_failed_share: float


@dataclass(frozen=True)
class Inputs:
    """The inputs of a job.

    Attributes:
        answers: answers.jsonl of the model.
        questions: rows.jsonl of the questions.
        references: rows.jsonl of the reference answers; None to grade without.
        prompts: The prompt file.
        rubric: The rubric file.
        judge: Model directory of a local judge; None for another one.
        gate: The judge's gate; None for a control.
    """

    answers: Path
    questions: Path
    references: Path | None
    prompts: Path
    rubric: Path
    judge: Path | None
    gate: Path | None


@dataclass(frozen=True)
class Item:
    """One grading of one answer."""

    graded: Graded
    sample_index: int
    system: str
    user: str
    with_reference: bool

    def request(self, block: Grading, attempt: int) -> Request:
        """The request."""
        messages = (("system", self.system), ("user", self.user))
        subject = Subject(self.graded.turns, self.graded.answer, form="result")
        key = f"{self.graded.key}:{self.sample_index}:{attempt}"
        return Request(key, messages, block.judge_sampling, subject, sample=f"{self.sample_index}.{attempt}")


def items_of(
    answers: list[Graded], references: dict[int, list[str]] | None, texts: dict[str, str], shown: str, block: Grading
) -> list[Item]:
    """Every grading of every answer.

    Args:
        answers: The model's.
        references: Reference answers by question; None to grade without.
        texts: The prompt file's templates.
        shown: The rubric as the judge reads it.
        block: The evaluation.

    Raises:
        ValueError: A question lacks its reference answer.
    """
    items = []
    for one in answers:
        reference = reference_of(one, references, block)
        slots = {"instruction": grades.told(one.turns), "response": one.answer, "rubric": shown}
        if reference is None:
            user = prompts.fill(texts["user"], **slots)
        else:
            user = prompts.fill(texts["user_with_reference"], **slots, reference_answer=reference)
        items += [Item(one, n, texts["system"], user, reference is not None) for n in range(block.repeats)]
    return items


def reference_of(one: Graded, references: dict[int, list[str]] | None, block: Grading) -> str | None:
    """The reference answer that the judge sees with an answer; None to grade without."""
    categories = block.reference_categories
    if references is None or (categories is not None and one.question.category not in categories):
        return None
    found = references.get(one.question.question_id, [])
    if len(found) < one.turn:
        what = f"question {one.question.question_id}, of category {one.question.category}, has no reference answer"
        raise InputError(
            problem(what, found=f"references to {len(found)} of its turns", expected=f"one to turn {one.turn}")
        )
    return found[one.turn - 1]


def graded(items: list[Item], judge: Backend, block: Grading) -> list[Completion]:
    """The judge's answer to each item; one that is cut or has no result at its end is drawn again."""
    settled: dict[int, Completion] = {}
    waiting = list(range(len(items)))
    for attempt in range(block.max_attempts):
        requests = [items[place].request(block, attempt) for place in waiting]
        settled |= zip(waiting, judge.complete(requests, "judge answers"), strict=True)
        waiting = [place for place in waiting if _ask_again(settled[place])]
    return [settled[place] for place in range(len(items))]


def _ask_again(answer: Completion) -> bool:
    """Whether another draw may have a result; the backend has already repeated refused ones."""
    return answer.finish_reason == "length" or (answer.fault is None and rubric.result(answer.text)[0] is None)


def row_of(item: Item, answer: Completion, model: str, judge_id: str, ends: set[str]) -> RubricRow:
    """A grading as a row."""
    score, flag = rubric.result(answer.text)
    status = grades.ENDINGS.get(answer.finish_reason, "error")
    if status == "ok" and score is None:
        status = "unparsed"
    return RubricRow(
        model=model,
        judge_id=judge_id,
        question_id=item.graded.question.question_id,
        turn=item.graded.turn,
        part=item.sample_index,
        status=status,
        parse_flag=flag,
        score=score if status == "ok" else None,
        with_reference=item.with_reference,
        model_returned=answer.model,
        **grades.flags(item.graded.answer, ends, rubric.holds_result),
    )


def judge_id_of(inputs: Inputs, block: Grading, backend: BackendBlock) -> str:
    """The identity of the judge, with its rubric."""
    return grades.identity(
        rubric.PROTOCOL,
        rubric.PARSER,
        backend=backend.identity(),
        weights=digest(inputs.judge) if inputs.judge else None,
        sampling=block.judge_sampling.model_dump(),
        attempts=block.max_attempts,
        prompts=sha256(inputs.prompts),
        rubric=sha256(inputs.rubric),
        references=sha256(inputs.references) if inputs.references else None,
        reference_categories=None if block.reference_categories is None else sorted(block.reference_categories),
    )


def write_gradings(
    inputs: Inputs, block: Grading, backend: BackendBlock, judge: Backend, out_folder: Path, *, single_turn: bool
) -> None:
    """Grade all answers of a model, which has the name of the output folder; single_turn: each turn without the others.

    Raises:
        ValueError: The gate is another judge's, an answer or reference is missing, or too few gradings have a score.
    """
    model, judge_id = out_folder.name, judge_id_of(inputs, block, backend)
    grades.check_gate(inputs.gate, judge_id)
    references = mtbench.references(read_rows(inputs.references, AnswerRow)) if inputs.references else None
    answers = grades.graded_answers(read_questions(inputs.questions), inputs.answers, single_turn=single_turn)
    texts = prompts.load(inputs.prompts, rubric.NEEDS)
    items = items_of(answers, references, texts, rubric.read_rubric(inputs.rubric).text, block)
    ends = {grades.delimiter(texts[name], "response") for name in ("user", "user_with_reference")}
    said = graded(items, judge, block)
    rows = [row_of(item, one, model, judge_id, ends) for item, one in zip(items, said, strict=True)]
    grades.check_failed(list(rows), len(items), block.max_failed_share)
    with artifact(out_folder) as out:
        pairs = zip(rows, said, strict=True)
        write_rows(out / "gradings.jsonl", rows)
        write_rows(out / "feedback.jsonl", (_feedback(row, one) for row, one in pairs))
    read = sum(row.score is not None for row in rows)
    logger.info(f"gradings of {model}: {read:,} of {len(rows):,} have a score")


def _feedback(row: RubricRow, answer: Completion) -> dict[str, object]:
    return {"question_id": row.question_id, "turn": row.turn, "part": row.part, "text": answer.error or answer.text}
