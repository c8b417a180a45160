"""Whether judges can be trusted: controls, judgments without a score, and scores that are withheld."""

from collections.abc import Iterable, Mapping
from functools import singledispatch
from typing import Any, NamedTuple

from bezoar.page.html import Section, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.steps.evaluate import ceilings
from bezoar.steps.results.checklist import ChecklistReport
from bezoar.steps.results.graded import GradedModel
from bezoar.steps.results.mtbench import Model, MtbenchReport
from bezoar.steps.results.pairwise import Baseline, PairwiseReport, Player, Seats
from bezoar.steps.results.report import Interval, Report, Score
from bezoar.steps.results.rubric import RubricModel, RubricReport


class Line(NamedTuple):
    """What a judge gave to one model's answers.

    Attributes:
        score: Its average; of a control, that too is the judge's.
        judgments: All of them.
        lost: Those without a score, by status.
        bounds: The average if all of these had the lowest score, or the highest.
        empty: Empty answers.
        marked: Answers that hold a delimiter of the judge's prompt or a verdict.
        unmarked: The average without them; None where the report has none.
        noise: Standard deviation of the judge's scores of one answer; None without repeats.
        withheld: Why there is no average.
    """

    score: Interval | None
    judgments: int
    lost: dict[str, int]
    bounds: tuple[float, float]
    empty: int
    marked: int
    unmarked: Interval | None
    noise: float | None
    withheld: str | None


class Judge(NamedTuple):
    """What the report of an evaluation says of its judge.

    Attributes:
        models: The judge, as its server calls itself.
        identity: Backend, and the id that changes with everything that can change a judgment.
        unit: What a score is.
        report: The report, for what all methods share.
        why: By control that the judge fails, the reason where the report has one.
        ceilings: By control, what the end of its interval may reach.
        seats: Whether the seat of an answer matters, of games.
    """

    models: list[str]
    identity: tuple[str, str]
    unit: str
    report: Any
    why: Mapping[str, str]
    controls: dict[str, Line]
    checkpoints: dict[str, Line]
    ceilings: Mapping[str, float]
    seats: Seats | None


class Judged(NamedTuple):
    """An evaluation with its judge, and its main scores that are withheld."""

    name: str
    method: str
    artifact: Artifact
    judge: Judge | None
    withheld: list[Score]


def section(inputs: Inputs) -> Section | None:
    """The section; None without a judge and without a withheld score."""
    found = [one for name in inputs.page.evals if (one := _judged(name, inputs)) and (one.judge or one.withheld)]
    if not found:
        return None
    body = render(
        "integrity.html.j2",
        evaluations=[one for one in found if one.judge],
        withheld=[(one, score) for one in found for score in one.withheld],
        artifacts=[one.artifact for one in found],
    )
    return Section("integrity", "Can the judges be trusted?", body)


def _judged(name: str, inputs: Inputs) -> Judged:
    report, artifact = inputs.report(name), inputs.artifact(f"results/{name}.json")
    withheld = [one for one in report.scores(name) if one.main and one.withheld]
    return Judged(name, report.method, artifact, judge_of(report), withheld)


@singledispatch
def judge_of(report: Report) -> Judge | None:
    """What a report says of its judge; None without one."""
    return None


@judge_of.register
def _(report: MtbenchReport) -> Judge:
    judge = report.judge
    return Judge(
        models=judge.models_returned,
        identity=(judge.backend, judge.id),
        unit="rating from 1 to 10",
        report=report,
        why={},
        controls={name: _rated(one) for name, one in report.controls.items()},
        checkpoints={name: _rated(report.models[name]) for name in report.checkpoints},
        ceilings=_ceilings(report.controls, (1.0, 10.0)),
        seats=None,
    )


@judge_of.register(ChecklistReport)
@judge_of.register(RubricReport)
def _(report: ChecklistReport | RubricReport) -> Judge:
    judge = report.judge
    return Judge(
        models=judge.models_returned,
        identity=(judge.backend, judge.id),
        unit=f"score from {report.scale[0]:g} to {report.scale[1]:g}",
        report=report,
        why=report.why_compromised,
        controls={name: _graded(one) for name, one in report.controls.items()},
        checkpoints={name: _graded(report.models[name]) for name in report.checkpoints},
        ceilings=_ceilings(report.controls, report.scale),
        seats=None,
    )


@judge_of.register
def _(report: PairwiseReport) -> Judge:
    judge = report.judge
    models = {name: report.models[name] for name in report.checkpoints}
    known = {name: control_of(name) for name in report.controls if control_of(name) != "self"}  # a seat has its ceiling
    return Judge(
        models=judge.models_returned,
        identity=(judge.backend, judge.id),
        unit=f"win rate against {report.baseline}",
        report=report,
        why={},
        controls={name: _played(one) for name, one in report.controls.items()},
        checkpoints={name: _played(one) for name, one in models.items() if not isinstance(one, Baseline)},
        ceilings={name: ceilings.WIN_RATES[one] for name, one in known.items() if one in ceilings.WIN_RATES},
        seats=report.seats,
    )


def _ceilings(controls: Iterable[str], scale: tuple[float, float]) -> dict[str, float]:
    """By control, the ceiling of its ratings."""
    known = {name: control_of(name) for name in controls}
    return {name: ceilings.on_scale(control, scale) for name, control in known.items() if control in ceilings.RATINGS}


def control_of(name: str) -> str:
    """A control by the name of its artifacts, such as control_empty."""
    return name.partition("_")[2]


def _rated(one: Model) -> Line:
    return Line(
        score=one.average,
        judgments=one.judgments,
        lost=_lost(one.status),
        bounds=(one.missing.mean_if_1, one.missing.mean_if_10),
        empty=one.empty_answers,
        marked=one.answers_with_delimiter_or_rating,
        unmarked=one.without_delimiters_or_ratings,
        noise=one.within_item_sd,
        withheld=one.withheld,
    )


def _graded(one: GradedModel) -> Line:
    return Line(
        score=one.average,
        judgments=one.gradings,
        lost=_lost(one.status),
        bounds=(one.missing.mean_if_lowest, one.missing.mean_if_highest),
        empty=one.empty_answers,
        marked=one.answers_with_delimiter_or_rating,
        unmarked=one.without_delimiters_or_ratings,
        noise=one.within_item_sd if isinstance(one, RubricModel) else None,
        withheld=one.withheld,
    )


def _played(one: Player) -> Line:
    return Line(
        score=one.win_rate,
        judgments=one.games,
        lost=_lost(one.status),
        bounds=(one.missing.win_rate_if_lost, one.missing.win_rate_if_won),
        empty=one.empty_answers,
        marked=one.answers_with_delimiter_or_verdict,
        unmarked=None,
        noise=one.within_item_sd,
        withheld=None,
    )


def _lost(status: dict[str, int]) -> dict[str, int]:
    """Judgments without a score, by status."""
    return {name: count for name, count in sorted(status.items()) if name != "ok" and count}
