"""The paired differences of a checkpoint's main scores, in reports of every method."""

from functools import singledispatch
from typing import Any

from bezoar.steps.results.graded import GradedReport
from bezoar.steps.results.harness import HarnessReport
from bezoar.steps.results.likelihood import LikelihoodReport
from bezoar.steps.results.pairwise import PairwiseReport
from bezoar.steps.results.report import Gap, Report, Score


def before(report: Report, score: Score) -> Gap | None:
    """The difference of a main score to the checkpoint before in its report; None for the first, and without one."""
    found: Gap | None = getattr(_holder(report, score), "difference_to_previous", None)
    return found


def others(report: Report, score: Score) -> list[Gap]:
    """The other differences of a main score: to the first checkpoint, and to those of `compare_to`."""
    holder = _holder(report, score)
    named: dict[str, Gap | None] = getattr(holder, "compared_to", None) or {}
    found = [getattr(holder, "difference_to_first", None), *named.values()]
    last = before(report, score)
    return [one for one in found if one is not None and one != last]


@singledispatch
def _holder(report: Report, score: Score) -> Any:
    """The part of a report that has a score's differences; None without one."""
    return None


@_holder.register
def _(report: GradedReport, score: Score) -> Any:
    return report.entry(score.checkpoint)


@_holder.register
def _(report: PairwiseReport, score: Score) -> Any:
    return report.models[score.checkpoint]


@_holder.register
def _(report: LikelihoodReport, score: Score) -> Any:
    return report.checkpoints[score.checkpoint][score.metric.rpartition(": ")[0]]


@_holder.register
def _(report: HarnessReport, score: Score) -> Any:
    task, _, metric = score.metric.partition(": ")
    return report.checkpoints[score.checkpoint][task].metrics[metric]
