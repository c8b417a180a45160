"""The report of a matrix: what each level of its axes changes."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from bezoar.steps.results.report import Comparisons, Form, Report, Score


class Axis(Form):
    """An axis of a matrix."""

    levels: list[str]
    base: str = Field(description="The level with the recipe's own values.")
    repetition: bool = Field(description="Whether its levels are seeds: repetitions of one experiment.")


class Combination(Form):
    """A scored checkpoint of one combination of levels."""

    levels: dict[str, str] = Field(description="By axis.")
    stage: str = Field(description="The stage of the recipe that it is one of.")
    checkpoint: str
    scores: dict[str, float | None] = Field(description="By metric, its score in the evaluation; null if withheld.")


class Effect(Form):
    """The paired difference of a level to the base level of its axis, over all levels of the other axes."""

    stage: str
    metric: str
    axis: str
    level: str
    base: str
    mean: float | None = Field(description="The level's score minus the base level's; null if withheld.")
    low: float | None = Field(description="Lower end of the 95 % interval, for other questions and the same seeds.")
    high: float | None
    p: float | None = Field(description="Two-sided p-value; null if nothing bounds it.")
    p_holm: float | None = Field(description="Holm's adjusted p-value among all effects of the matrix.")
    significant: bool | None
    by_seed: list[float] = Field(description="The difference with each combination of seeds alone, in their order.")
    sd_between_seeds: float | None = Field(description="Standard deviation of `by_seed`; null for fewer than two.")
    items: int = Field(ge=0, description="Questions, items or families that both have scores for.")
    pairs: int = Field(ge=0, description="Pairs of checkpoints that differ in this axis alone.")
    withheld: str | None = Field(description="Why there is no difference; null if there is one.")


class AblationReport(Report):
    """The effects of the levels of a matrix, with what they are beside chance and beside the spread of seeds."""

    method: ClassVar[str] = "ablation"
    marks: ClassVar[frozenset[str]] = frozenset({"matrix", "axes", "effects"})
    scored: ClassVar[bool] = False

    matrix: str
    evaluation: str
    axes: dict[str, Axis]
    seeds: int = Field(ge=1, description="Combinations of seeds that each effect is the mean of.")
    combinations: list[Combination]
    effects: list[Effect]
    comparisons: Comparisons
    judge_compromised: bool
    seed: int = Field(description="Of the intervals.")
    note: str

    def scores(self, evaluation: str) -> Iterator[Score]:
        """None: the scores of all checkpoints are those of its evaluation."""
        yield from ()
