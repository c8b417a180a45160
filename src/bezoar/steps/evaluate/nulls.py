"""Answers that no model wrote, for the methods that grade every answer by itself."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from bezoar.blocks import NamedBlock
from bezoar.files import artifact
from bezoar.logs import logger
from bezoar.steps import prompts
from bezoar.steps.data.rows import AnswerRow, read_rows, write_rows
from bezoar.steps.evaluate import checklist, grades, rubric
from bezoar.steps.evaluate.controls import answers_for
from bezoar.steps.evaluate.gate import Gate, Rating
from bezoar.steps.evaluate.mtbench import CONTROL
from bezoar.steps.evaluate.questions import answer_row, read_questions

GradedMethod = Literal["checklist", "rubric"]
METHODS: dict[GradedMethod, Rating] = {
    "checklist": Rating(
        row=checklist.CheckRow,
        questions=read_questions,
        readable="first tokens that are mostly yes or no",
        scale=checklist.SCALE,
        cells=grades.cells,
    ),
    "rubric": Rating(
        row=rubric.RubricRow,
        questions=read_questions,
        readable="feedback that ends with a score such as [RESULT] 3",
        scale=rubric.SCALE,
        cells=grades.cells,
    ),
}


class Spoofed(NamedBlock):
    """The keys of an evaluation that its controls depend on."""

    section: ClassVar[str] = "evals"

    method: GradedMethod


class GradedGate(Gate):
    """The keys of an evaluation that its gate depends on."""

    method: GradedMethod


def spoof_of(method: GradedMethod, prompt_file: Path) -> str:
    """An answer that closes the answer block of the method's prompt, and fakes the best verdict."""
    if method == "checklist":
        return checklist.spoof(grades.delimiter(prompts.load(prompt_file, checklist.NEEDS)["judge"], "response"))
    return rubric.spoof(grades.delimiter(prompts.load(prompt_file, rubric.NEEDS)["user"], "response"))


def write_nulls(
    questions_path: Path, answers_path: Path | None, prompt_file: Path, block: Spoofed, seed: int, out_folder: Path
) -> None:
    """Write the answers of a control, which has the name of the output folder."""
    questions = read_questions(questions_path)
    answers = sorted(read_rows(answers_path, AnswerRow), key=lambda row: row.question_id) if answers_path else []
    name = out_folder.name
    turns = answers_for(name.removeprefix(CONTROL), questions, answers, spoof_of(block.method, prompt_file), seed)
    rows = [
        answer_row(name, question, _fitted(texts, len(question.turns)))
        for question, texts in zip(questions, turns, strict=True)
    ]
    with artifact(out_folder) as out:
        write_rows(out / "answers.jsonl", rows)
    logger.info(f"answers of {name}: {len(rows)} questions")


def _fitted(texts: list[str], turns: int) -> list[str]:
    """As many answers as a question has turns: another question, of `shuffled`, may have more or fewer."""
    return [texts[turn % len(texts)] for turn in range(turns)]
