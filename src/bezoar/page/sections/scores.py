"""Scores by checkpoint, with intervals and the differences to the checkpoint before."""

from typing import NamedTuple

from bezoar.page.gaps import gap_of
from bezoar.page.html import Section, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.steps.results.report import Gap, Score


class Column(NamedTuple):
    """A main score of an evaluation.

    Attributes:
        cells: By checkpoint, the score and its difference to the checkpoint before.
    """

    evaluation: str
    method: str
    metric: str
    artifact: Artifact
    cells: dict[str, tuple[Score, Gap | None]]


def section(inputs: Inputs) -> Section | None:
    """The table; None without a score."""
    columns = [column for name in inputs.page.evals for column in _columns(inputs, name)]
    if not columns:
        return None
    scored = {name for column in columns for name in column.cells}
    rows = [name for name in inputs.page.checkpoints() if name in scored]
    body = render("scores.html.j2", columns=columns, rows=rows, page=inputs.page)
    return Section("scores", "Scores by checkpoint", body)


def _columns(inputs: Inputs, evaluation: str) -> list[Column]:
    """The main scores of an evaluation, a column for each metric."""
    report = inputs.report(evaluation)
    found: dict[str, Column] = {}
    for score in report.scores(evaluation):
        if score.main:
            artifact = inputs.artifact(f"results/{evaluation}.json")
            new = Column(evaluation, report.method, score.metric, artifact, {})
            column = found.setdefault(score.metric, new)
            column.cells[score.checkpoint] = (score, gap_of(report, score))
    return list(found.values())
