"""The report of a likelihood evaluation."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from bezoar.steps.results.report import Comparisons, Differences, Form, Interval, Report, Score, parts


class Counts(Form):
    """What a mix holds out."""

    answers: int = Field(ge=0)
    families: int = Field(ge=0)
    tokens: int = Field(ge=0)


class Mean(Interval, Differences):
    """Nats per token, with paired differences; null if the tokens of the two checkpoints differ."""


class LikelihoodReport(Report):
    """Nats per token by mix, with intervals and paired differences."""

    method: ClassVar[str] = "likelihood"
    marks: ClassVar[frozenset[str]] = frozenset({"mixes", "order", "checkpoints"})

    evaluation: str
    note: str
    mixes: dict[str, Counts]
    order: list[str] = Field(description="Differences are to the first, and to the previous one.")
    checkpoints: dict[str, dict[str, Mean]]
    separability: dict[str, float | None] = Field(description="Share of pairs of checkpoints apart, by mix.")
    comparisons: Comparisons
    seed: int

    def scores(self, evaluation: str) -> Iterator[Score]:
        """The mean of each mix."""
        for name in self.order:
            for mix, one in self.checkpoints[name].items():
                n = self.mixes[mix].answers
                yield Score(evaluation, self.method, name, f"{mix}: nats/token", *parts(one), n)
