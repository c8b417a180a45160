"""The report of an MT-Bench evaluation."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from bezoar.steps.results.report import Comparisons, Flagged, Form, Gap, Interval, Report, Score, parts

NO_RATING = "no readable rating"


class Missing(Form):
    """Judgments without a rating, and the mean if all of them were the lowest or the highest."""

    judgments: int = Field(ge=0)
    mean_if_1: float
    mean_if_10: float


class Clean(Form):
    """The average over the questions that no training row repeats."""

    average: Interval | None
    withheld: str | None = Field(description="Why there is no average; null if there is one.")
    questions: int = Field(ge=0)
    left_out: list[int]


class Model(Form):
    """A control's scores and counts."""

    average: Interval | None = Field(description="From 1 to 10; an empty answer scores 1. null without any rating.")
    average_fastchat: float | None = Field(description="As FastChat averages: an empty answer has the judge's rating.")
    withheld: str | None = Field(description="Why there is no average; null if there is one.")
    within_item_sd: float | None = Field(description="The judge's noise, from repeats; null without any.")
    without_delimiters_or_ratings: Interval | None = Field(
        description="The average over answers without a prompt's delimiter or a rating."
    )
    missing: Missing
    turns: dict[str, Interval | None]
    categories: dict[str, Interval | None]
    difference_to_first: Gap | None
    difference_to_previous: Gap | None
    judgments: int = Field(ge=0)
    status: dict[str, int]
    several_ratings: int = Field(ge=0)
    empty_answers: int = Field(ge=0)
    answers_with_delimiter_or_rating: int = Field(ge=0)
    complete: bool


class Checkpoint(Model):
    """A checkpoint's scores and counts."""

    difference_to_first: Flagged | None
    difference_to_previous: Flagged | None
    compared_to: dict[str, Flagged | None]
    clean: Clean


class Judge(Form):
    """The identity of the judge."""

    id: str
    backend: str
    models_returned: list[str]
    parser: int
    repeats: int = Field(ge=1)
    prompts_sha256: str
    references: str
    references_sha256: str


class Questions(Form):
    """The questions."""

    answers: str = Field(description="Block of `answers`.")
    source: str
    count: int = Field(ge=0)
    categories: dict[str, int]
    sha256: str


class MtbenchReport(Report):
    """Scores by category and turn of every checkpoint and control, with 95 % intervals."""

    method: ClassVar[str] = "mtbench"
    marks: ClassVar[frozenset[str]] = frozenset({"protocol", "models", "controls", "not_above_controls"})

    protocol: Literal["mtbench-single-v1", "mtbench-single-v1-fenced"]
    note: str
    judge: Judge
    questions: Questions
    checkpoints: list[str] = Field(description="In order: comparisons are with the first, and with the previous one.")
    no_score: str | None = Field(description="Why the scores say nothing; null if they do.")
    judge_compromised: bool
    controls_that_failed: list[str]
    not_above_controls: list[str]
    separability: float | None = Field(description="Share of pairs of checkpoints whose intervals are apart.")
    comparisons: Comparisons
    models: dict[str, Checkpoint]
    controls: dict[str, Model]
    seed: int

    def scores(self, evaluation: str) -> Iterator[Score]:
        """The average, and the means of turns and categories."""
        for name in self.checkpoints:
            one, count = self.models[name], self.questions.count
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
            judge=" ".join(self.judge.models_returned),
            compromised=self.judge_compromised,
            withheld=self.no_score or (None if mean else self.models[checkpoint].withheld or NO_RATING),
            main=metric == "average",
        )
