"""Questions of one or more turns, and answers to them in FastChat's schema."""

from pathlib import Path

from bezoar.steps.data.rows import AnswerRow, Choice, QuestionRow, read_rows, row_id


def read_questions(path: Path) -> list[QuestionRow]:
    """The questions of a file by id."""
    return sorted(read_rows(path, QuestionRow), key=lambda row: row.question_id)


def answer_row(model: str, question: QuestionRow, turns: list[str]) -> AnswerRow:
    """A model's answers to all turns of a question, in FastChat's schema."""
    return AnswerRow(
        question_id=question.question_id,
        answer_id=row_id(model, str(question.question_id)),
        model_id=model,
        choices=[Choice(index=0, turns=turns)],
        tstamp=0.0,  # the time of a run isn't part of its result
    )
