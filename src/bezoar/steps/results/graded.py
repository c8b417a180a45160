"""What the reports of methods share that grade every answer by itself."""

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from bezoar.steps.results.report import Comparisons, Flagged, Form, Gap, Interval, Report, Score, parts

NO_RATING = "no readable rating"


class Missing(Form):
    """Gradings without a score, and the mean if all of them had the lowest or the highest."""

    gradings: int = Field(ge=0)
    mean_if_lowest: float
    mean_if_highest: float


class Clean(Form):
    """The average over the questions that no training row repeats."""

    average: Interval | None
    withheld: str | None = Field(description="Why there is no average; null if there is one.")
    questions: int = Field(ge=0)
    left_out: list[int]


class JudgedModel(Form):
    """A control's scores and counts, as far as every method has them."""

    average: Interval | None = Field(description="An empty answer has the lowest score. null without any score.")
    withheld: str | None = Field(description="Why there is no average; null if there is one.")
    turns: dict[str, Interval | None]
    categories: dict[str, Interval | None]
    difference_to_first: Gap | None
    difference_to_previous: Gap | None
    status: dict[str, int]
    empty_answers: int = Field(ge=0)
    answers_with_delimiter_or_rating: int = Field(ge=0)
    without_delimiters_or_ratings: Interval | None = Field(
        description="The average over answers without a prompt's delimiter or a rating."
    )
    complete: bool


class GradedModel(JudgedModel):
    """A control's scores and counts."""

    missing: Missing
    gradings: int = Field(ge=0)


class GradedCheckpoint(GradedModel):
    """A checkpoint's scores and counts."""

    difference_to_first: Flagged | None
    difference_to_previous: Flagged | None
    compared_to: dict[str, Flagged | None]
    clean: Clean


class GradedQuestions(Form):
    """The questions."""

    answers: str = Field(description="Block of `answers`.")
    source: str
    count: int = Field(ge=0)
    categories: dict[str, int]
    sha256: str


class GradedReport(Report):
    """Scores of every checkpoint and control; `models` and `judge` are each method's own.

    A subclass adds `judge`, `models` and `controls`, and perhaps its scale.
    """

    protocol: str
    questions: GradedQuestions
    checkpoints: list[str] = Field(description="In order: comparisons are with the first, and with the previous one.")
    no_score: str | None = Field(description="Why the scores say nothing; null if they do.")
    judge_compromised: bool
    controls_that_failed: list[str]
    not_above_controls: list[str]
    separability: float | None = Field(description="Share of pairs of checkpoints whose intervals are apart.")
    comparisons: Comparisons
    seed: int

    def entry(self, checkpoint: str) -> JudgedModel:
        """A checkpoint's part."""
        raise NotImplementedError

    def judged_by(self) -> str:
        """The models that judged."""
        raise NotImplementedError

    def scores(self, evaluation: str) -> Iterator[Score]:
        """The average, and the means of turns and categories."""
        for name in self.checkpoints:
            one, count = self.entry(name), self.questions.count
            yield self._score(evaluation, name, "average", one.average, count)
            for turn, mean in one.turns.items():
                yield self._score(evaluation, name, f"turn {turn}", mean, count)
            for category, mean in one.categories.items():
                yield self._score(evaluation, name, category, mean, self.questions.categories[category])

    def asked(self, checkpoint: str, metric: str) -> dict[str, Any]:
        """The prompts' form and the questions."""
        return {"protocol": self.protocol, "questions": self.questions.sha256[:12]}

    def _score(self, evaluation: str, checkpoint: str, metric: str, mean: Interval | None, count: int) -> Score:
        return Score(
            evaluation,
            self.method,
            checkpoint,
            metric,
            *parts(None if self.no_score else mean),
            count,
            judge=self.judged_by(),
            compromised=self.judge_compromised,
            withheld=self.no_score or (None if mean else self.entry(checkpoint).withheld or NO_RATING),
            main=metric == "average",
        )
