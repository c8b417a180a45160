"""Tasks of lm-evaluation-harness: every metric of every checkpoint, clean scores, and published ones."""

from typing import NamedTuple

from markupsafe import Markup

from bezoar.page.html import Section, render
from bezoar.page.inputs import Artifact, Inputs
from bezoar.page.intervals import Bar, drawing
from bezoar.steps.results.harness import Asked, Compared, HarnessReport, Metric, Task, ends, main


class Cell(NamedTuple):
    """A metric of a checkpoint.

    Attributes:
        low, high: Its 95 % interval; None if it isn't known.
        clean: The metric over the items that no training row repeats.
    """

    metric: Compared
    low: float | None
    high: float | None
    clean: Metric | None


class Line(NamedTuple):
    """A metric of a task, by checkpoint."""

    metric: str
    cells: dict[str, Cell]


class Panel(NamedTuple):
    """A task of an evaluation.

    Attributes:
        asked: How it was asked; None if the report doesn't say.
        left_out: By checkpoint, the items that its training rows repeat.
        drawing: The task's main metric; empty if it has none.
    """

    task: str
    questions: int
    asked: Asked | None
    checkpoints: list[str]
    left_out: dict[str, int]
    lines: list[Line]
    drawing: Markup


class Harness(NamedTuple):
    """An evaluation."""

    name: str
    report: HarnessReport
    artifact: Artifact
    panels: list[Panel]


def section(inputs: Inputs) -> Section | None:
    """The tasks; None without an evaluation by the harness."""
    reports = {name: inputs.report(name) for name in inputs.page.evals}
    found = [_harness(inputs, name, one) for name, one in reports.items() if isinstance(one, HarnessReport)]
    if not found:
        return None
    return Section("harness", "Harness by task", render("harness.html.j2", evaluations=found))


def _harness(inputs: Inputs, name: str, report: HarnessReport) -> Harness:
    tasks = dict.fromkeys(task for one in report.order for task in report.checkpoints[one])
    panels = [_panel(report, task) for task in tasks]
    return Harness(name, report, inputs.artifact(f"results/{name}.json"), panels)


def _panel(report: HarnessReport, name: str) -> Panel:
    tasks = {one: report.checkpoints[one][name] for one in report.order if name in report.checkpoints[one]}
    metrics = dict.fromkeys(metric for task in tasks.values() for metric in task.metrics)
    lines = [
        Line(metric, {one: _cell(task, metric) for one, task in tasks.items() if metric in task.metrics})
        for metric in metrics
    ]
    questions = max(task.questions for task in tasks.values())
    left_out = {one: task.clean.left_out for one, task in tasks.items()}
    return Panel(name, questions, report.tasks.get(name), list(tasks), left_out, lines, _drawing(name, tasks))


def _cell(task: Task, metric: str) -> Cell:
    one = task.metrics[metric]
    low, high = ends(metric, one.score, one.standard_error, task.questions)
    return Cell(one, low, high, task.clean.metrics.get(metric))


def _drawing(name: str, tasks: dict[str, Task]) -> Markup:
    chosen = {one: (task.metrics[metric], metric, task) for one, task in tasks.items() if (metric := main(task))}
    bars = [
        Bar(one, found.score, *ends(metric, found.score, found.standard_error, task.questions))
        for one, (found, metric, task) in chosen.items()
        if found.score is not None
    ]
    return drawing(bars, f"{name}: scores of checkpoints with 95 % intervals", 3) if bars else Markup("")
