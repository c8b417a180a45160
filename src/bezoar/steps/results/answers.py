"""The report of answers side by side."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from bezoar.steps.results.report import Form, Report, Score


class Counts(Form):
    """Counts of a checkpoint's answers."""

    answers: int = Field(ge=0)
    empty: int = Field(ge=0)
    cut: int = Field(ge=0, description="Answers that the token limit cut.")
    words_per_answer: float = Field(ge=0)


class Question(Form):
    """A question with each checkpoint's answer to every turn."""

    question_id: int
    category: str
    turns: list[str]
    answers: dict[str, list[str]]


class AnswersReport(Report):
    """Answers of all checkpoints side by side, without a score."""

    method: ClassVar[str] = "answers"
    marks: ClassVar[frozenset[str]] = frozenset({"no_score", "checkpoints", "questions"})
    scored: ClassVar[bool] = False

    evaluation: str
    no_score: str = Field(description="Why there is no score.")
    checkpoints: dict[str, Counts]
    questions: list[Question]

    def scores(self, evaluation: str) -> Iterator[Score]:
        """A line for each checkpoint that says why it has no score."""
        for name, one in self.checkpoints.items():
            yield Score(evaluation, self.method, name, "rating", None, None, None, one.answers, withheld=self.no_score)
