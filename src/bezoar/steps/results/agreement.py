"""The report of judges side by side."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from bezoar.steps.results.report import Form, Interval, Report, Score


class Judge(Form):
    """A judge's identity, and whether it can be trusted."""

    id: str
    backend: str
    models_returned: list[str]
    parser: int
    prompts_sha256: str
    references_sha256: str | None = Field(description="null without reference answers.")
    criteria_sha256: str | None = Field(description="Of the rubric, or of the checklists' items; null for MT-Bench.")
    protocol: str
    judge_compromised: bool
    controls_that_failed: list[str]
    no_score: str | None


class Rated(Form):
    """Answers by who rated them; an empty answer counts as not rated."""

    both: int = Field(ge=0)
    only_first: int = Field(ge=0)
    only_second: int = Field(ge=0)
    neither: int = Field(ge=0)


class Pair(Form):
    """How far two judges agree; null where a figure isn't defined."""

    evals: list[str] = Field(min_length=2, max_length=2)
    rated: Rated
    agreement: Interval | None = Field(description="Share of equal ratings.")
    agreement_if_missing_differ: float | None = Field(
        description="The same if a rating that only one judge gave counts as a disagreement."
    )
    within_one: Interval | None = Field(description="Share of ratings at most 1 apart.")
    weighted_kappa: Interval | None = Field(description="Agreement beyond chance, with quadratic weights.")
    spearman: Interval | None = Field(description="Correlation of ranks.")
    difference: Interval | None = Field(description="The second judge's mean rating minus the first one's.")


class AgreementReport(Report):
    """Judges of the same answers side by side, and how far they agree."""

    method: ClassVar[str] = "agreement"
    marks: ClassVar[frozenset[str]] = frozenset({"judges", "averages", "pairs"})
    scored: ClassVar[bool] = False

    evaluation: str
    judges: dict[str, Judge] = Field(description="By evaluation.")
    checkpoints: list[str]
    averages: dict[str, dict[str, Interval | None]] = Field(description="By checkpoint and evaluation.")
    pairs: list[Pair]
    questions: int = Field(ge=0)
    seed: int

    def scores(self, evaluation: str) -> Iterator[Score]:
        """None: the averages are scores of the judges' own evaluations."""
        yield from ()
