"""Questions of one or more turns, and answers to them in FastChat's schema."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from bezoar.blocks import NamedBlock
from bezoar.errors import InputError, problem
from bezoar.steps.data.rows import AnswerRow, Choice, QuestionRow, read_rows, row_id


def read_questions(path: Path) -> list[QuestionRow]:
    """The questions of a file by id."""
    return sorted(read_rows(path, QuestionRow), key=lambda row: row.question_id)


def check_answers(question: QuestionRow, answers: Mapping[int, list[str]]) -> None:
    """Raise InputError if a turn of a question has no answer."""
    _check_turns(f"question {question.question_id} has no answer", answers.get(question.question_id), question)


def references_to(question: QuestionRow, references: Mapping[int, list[str]]) -> list[str]:
    """The reference answers to all turns of a question; raises InputError if one is missing."""
    what = f"question {question.question_id}, of category {question.category}, has no reference answer"
    return _check_turns(what, references.get(question.question_id), question)


def _check_turns(what: str, texts: list[str] | None, question: QuestionRow) -> list[str]:
    texts, turns = texts or [], len(question.turns)
    if len(texts) < turns:
        raise InputError(problem(f"{what} to turn {len(texts) + 1}", found=len(texts), expected=f"{turns}, one a turn"))
    return texts


class Asked(NamedBlock):
    """The keys of a block of `answers` that a judge's prompts depend on.

    Attributes:
        single_turn: Whether every turn was asked by itself: then a judge doesn't see the turns before it either.
    """

    section: ClassVar[str] = "answers"

    single_turn: bool


def by_itself(question: QuestionRow, turn: int, *said: list[str]) -> tuple[QuestionRow, list[list[str]]]:
    """A turn as a question of its own, and of each list of texts, such as answers, the one of that turn."""
    asked = question.model_copy(update={"turns": question.turns[turn - 1 : turn]})
    return asked, [texts[turn - 1 : turn] for texts in said]


def answer_row(model: str, question: QuestionRow, turns: list[str]) -> AnswerRow:
    """A model's answers to all turns of a question, in FastChat's schema."""
    return AnswerRow(
        question_id=question.question_id,
        answer_id=row_id(model, str(question.question_id)),
        model_id=model,
        choices=[Choice(index=0, turns=turns)],
        tstamp=0.0,  # the time of a run isn't part of its result
    )
