"""What every report of an evaluation can say of its scores, whatever its method."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field


class Form(BaseModel):
    """A part of a report: exactly these keys."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Interval(Form):
    """An estimate with its 95 % interval; an end is null if nothing bounds it."""

    mean: float
    low: float | None
    high: float | None


def parts(estimate: Interval | None) -> tuple[float | None, float | None, float | None]:
    """An estimate and the ends of its interval, for a Score."""
    return (estimate.mean, estimate.low, estimate.high) if estimate else (None, None, None)


class Gap(Interval):
    """A paired difference to another checkpoint."""

    to: str


class Flagged(Gap):
    """A paired difference that was compared with chance, among all of its report."""

    p: float | None = Field(description="Two-sided p-value; null if nothing bounds it.")
    p_holm: float | None = Field(description="Holm's adjusted p-value among all comparisons of the report.")
    significant: bool | None


class Differences(Form):
    """The paired differences of a checkpoint; null for the first one, and where nothing can be compared."""

    difference_to_first: Flagged | None
    difference_to_previous: Flagged | None
    compared_to: dict[str, Flagged | None] = Field(description="Those to the checkpoints of `compare_to`.")


class Comparisons(Form):
    """How many pairs of checkpoints and scores the report compares, and how many of them differ beyond chance."""

    count: int = Field(ge=0)
    significant: int = Field(ge=0)
    level: float
    method: str


class Score(NamedTuple):
    """A line of results/summary.csv.

    Attributes:
        n: Questions, items or answers that it is the mean of.
        judge: The models that judged; None without a judge.
        compromised: Whether the judge rewards what no model wrote; None without a judge.
        withheld: Why there is no score; None if there is one.
        main: Whether it is one of the evaluation's scores, and not a part of one.
    """

    evaluation: str
    method: str
    checkpoint: str
    metric: str
    score: float | None
    low: float | None
    high: float | None
    n: int
    judge: str | None = None
    compromised: bool | None = None
    withheld: str | None = None
    main: bool = True


class Report(Form):
    """The base class of reports.

    Attributes:
        method: The method of the evaluation.
        marks: Keys that together no report of another method has.
        scored: Whether it has scores, and so metrics for DVC.
    """

    method: ClassVar[str]
    marks: ClassVar[frozenset[str]]
    scored: ClassVar[bool] = True

    def scores(self, evaluation: str) -> Iterator[Score]:
        """Every score, checkpoint by checkpoint; `evaluation` is the name of the report's file."""
        raise NotImplementedError

    def asked(self, checkpoint: str, metric: str) -> dict[str, Any]:
        """How a score was measured, beside its judge and the checkpoint: other values here are another measure."""
        return {}


def averages(report: Report, evaluation: str) -> dict[str, dict[str, float]]:
    """By checkpoint, the average of its main scores with its 95 % interval, as far as they are known.

    The scores are of independent samples, so the squares of the intervals' arms add up.

    Source: Zou and Donner 2008 (Statistics in Medicine 27, 1693-1702), on intervals of sums from those of the parts.
    """
    found: dict[str, list[Score]] = {}
    for one in report.scores(evaluation):
        found.setdefault(one.checkpoint, [])
        if one.main:
            found[one.checkpoint].append(one)
    return {checkpoint: _average(scores) for checkpoint, scores in found.items()}


def _average(scores: list[Score]) -> dict[str, float]:
    values = [one.score for one in scores if one.score is not None]
    if not values or len(values) < len(scores):
        return {}
    average = math.fsum(values) / len(values)
    lows = [score - one.low for score, one in zip(values, scores, strict=True) if one.low is not None]
    highs = [one.high - score for score, one in zip(values, scores, strict=True) if one.high is not None]
    ends = {"low": average - _arm(lows), "high": average + _arm(highs)}
    known = {"low": len(lows) == len(values), "high": len(highs) == len(values)}
    return {
        "average": round(average, 4),
        **{name: round(end, 4) for name, end in ends.items() if known[name]},
    }


def _arm(lengths: list[float]) -> float:
    return math.hypot(*lengths) / len(lengths) if lengths else 0.0
