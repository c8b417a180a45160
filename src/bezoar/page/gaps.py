"""The paired difference of a score to the checkpoint before, in reports of every method."""

from functools import singledispatch

from bezoar.steps.results.graded import GradedReport
from bezoar.steps.results.harness import HarnessReport
from bezoar.steps.results.likelihood import LikelihoodReport
from bezoar.steps.results.mtbench import MtbenchReport
from bezoar.steps.results.pairwise import PairwiseReport
from bezoar.steps.results.report import Gap, Report, Score


@singledispatch
def gap_of(report: Report, score: Score) -> Gap | None:
    """The difference of a main score to the checkpoint before in the report; None for the first, and without one."""
    return None


@gap_of.register
def _(report: MtbenchReport, score: Score) -> Gap | None:
    return report.models[score.checkpoint].difference_to_previous


@gap_of.register
def _(report: GradedReport, score: Score) -> Gap | None:
    return report.entry(score.checkpoint).difference_to_previous


@gap_of.register
def _(report: PairwiseReport, score: Score) -> Gap | None:
    return report.models[score.checkpoint].difference_to_previous


@gap_of.register
def _(report: LikelihoodReport, score: Score) -> Gap | None:
    return report.checkpoints[score.checkpoint][score.metric.rpartition(": ")[0]].difference_to_previous


@gap_of.register
def _(report: HarnessReport, score: Score) -> Gap | None:
    task, _, metric = score.metric.partition(": ")
    return report.checkpoints[score.checkpoint][task].metrics[metric].difference_to_previous
