"""Scores over the questions that no training row repeats, in reports of every method whose questions are judged."""

from typing import NamedTuple

from bezoar.steps.results.checklist import ChecklistReport
from bezoar.steps.results.mtbench import MtbenchReport
from bezoar.steps.results.pairwise import Baseline, PairwiseReport
from bezoar.steps.results.report import Interval, Report
from bezoar.steps.results.rubric import RubricReport


class Clean(NamedTuple):
    """A checkpoint's main score without some questions; None if too few are left for one."""

    score: Interval | None
    left_out: int


def cleaned(report: Report) -> dict[str, Clean]:
    """By checkpoint; nothing for methods without questions, and where no training row repeats one."""
    found: dict[str, Clean] = {}
    if isinstance(report, MtbenchReport | ChecklistReport | RubricReport):
        parts = {name: report.models[name].clean for name in report.checkpoints}
        found = {name: Clean(one.average, len(one.left_out)) for name, one in parts.items()}
    if isinstance(report, PairwiseReport):
        players = {name: one for name, one in report.models.items() if not isinstance(one, Baseline)}
        found = {name: Clean(one.clean.win_rate, len(one.clean.left_out)) for name, one in players.items() if one.clean}
    return found if any(one.left_out for one in found.values()) else {}
