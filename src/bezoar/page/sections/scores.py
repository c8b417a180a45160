"""Scores by checkpoint, with intervals and the differences to the checkpoint before."""

from typing import NamedTuple

from markupsafe import Markup

from bezoar.page import gaps
from bezoar.page.cleaned import Clean, cleaned
from bezoar.page.html import Section, decimals, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.intervals import Bar, drawing
from bezoar.steps.results.agreement import AgreementReport
from bezoar.steps.results.report import Gap, Report, Score


class Cell(NamedTuple):
    """A score of a checkpoint.

    Attributes:
        before: Its difference to the checkpoint before in the report.
        others: Its differences to the first one, and to those of `compare_to`.
    """

    score: Score
    before: Gap | None = None
    others: tuple[Gap, ...] = ()


class Measure(NamedTuple):
    """A metric of an evaluation, by checkpoint."""

    metric: str
    cells: dict[str, Cell]

    @property
    def digits(self) -> int:
        """Decimals of its scores."""
        return decimals(one.score.score for one in self.cells.values())

    def first(self) -> Score:
        """A score that says what all of them share: questions, judge."""
        return next(iter(self.cells.values())).score


class Scored(NamedTuple):
    """An evaluation.

    Attributes:
        main: Its scores.
        parts: Scores of their parts, such as turns and categories.
        clean: By checkpoint, the score over questions that no training row repeats.
    """

    name: str
    method: str
    artifact: Artifact
    main: list[Measure]
    parts: list[Measure]
    drawings: list[Markup]
    clean: dict[str, Clean]

    @property
    def unit(self) -> str:
        """What a score is the mean of."""
        return {"harness": "item", "likelihood": "answer"}.get(self.method, "question")

    def checkpoints(self) -> list[str]:
        """In the order of the recipe."""
        return list(dict.fromkeys(name for one in self.main for name in one.cells))

    def compared(self) -> bool:
        """Whether there are differences besides those to the checkpoint before."""
        return any(cell.others for one in self.main for cell in one.cells.values())


def section(inputs: Inputs) -> Section | None:
    """The table and what it is made of; None without a score."""
    reports = {name: inputs.report(name) for name in inputs.page.evals}
    scored = [_scored(inputs, name, report) for name, report in reports.items() if report.scored]
    found = [one for one in scored if one.main]  # tasks without a share, such as perplexities, are in the harness's own
    judges = {
        name: (report, inputs.artifact(f"results/{name}.json"))
        for name, report in reports.items()
        if isinstance(report, AgreementReport)
    }
    if not found and not judges:
        return None
    named = {name for one in found for name in one.checkpoints()}
    columns = [name for name in inputs.page.checkpoints() if name in named]
    body = render("scores.html.j2", evaluations=found, columns=columns, judges=judges)
    return Section("scores", "Scores by checkpoint", body)


def _scored(inputs: Inputs, name: str, report: Report) -> Scored:
    order = inputs.page.checkpoints()
    scores = sorted(report.scores(name), key=lambda one: order.index(one.checkpoint))
    main = _measures(report, [one for one in scores if one.main])
    drawn = [] if report.method == "harness" else [_drawing(name, one) for one in main]  # which has its own section
    parts = [] if report.method == "harness" else _measures(None, [one for one in scores if not one.main])
    return Scored(name, report.method, inputs.artifact(f"results/{name}.json"), main, parts, drawn, cleaned(report))


def _measures(report: Report | None, scores: list[Score]) -> list[Measure]:
    found: dict[str, Measure] = {}
    for one in scores:
        measure = found.setdefault(one.metric, Measure(one.metric, {}))
        known = (gaps.before(report, one), tuple(gaps.others(report, one))) if report else ()
        measure.cells[one.checkpoint] = Cell(one, *known)
    return list(found.values())


def _drawing(evaluation: str, measure: Measure) -> Markup:
    """The scores with their intervals; nothing if all are withheld."""
    known = [cell.score for cell in measure.cells.values()]
    bars = [Bar(one.checkpoint, one.score, one.low, one.high) for one in known if one.score is not None]
    label = f"{evaluation}, {measure.metric}: scores of checkpoints with 95 % intervals"
    return drawing(bars, label, measure.digits) if bars else Markup("")
