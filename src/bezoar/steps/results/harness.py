"""The report of a harness evaluation."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field

from bezoar.steps.results.report import Comparisons, Flagged, Form, Report, Score

MAIN = ("acc_norm", "acc", "mc2", "exact_match", "f1", "pass@1", "prompt_level_strict_acc")  # shares, the best first
SHARES = {*MAIN, "acc_bytes", "acc_mutual_info", "em", "prompt_level_loose_acc"}  # from 0 to 1, of documents
NORMAL = 1.959964  # standard errors of a 95 % interval


class Published(Form):
    """A published score beside ours; `allowed` is two standard errors of ours and what its rounding can make."""

    score: float
    allowed: float
    differs: bool


class Metric(Form):
    """A metric as the harness says it."""

    score: float | None = Field(description="Null if it isn't a finite number.")
    standard_error: float | None
    why: str | None = Field(None, description="Why there is no score.")
    expected: Published | None = None


class ItemGap(Flagged):
    """A paired difference on the items that both checkpoints have."""

    standard_error: float
    items: int = Field(ge=1)


class Compared(Metric):
    """A metric; if it is a mean over items, with paired differences."""

    difference_to_first: ItemGap | None = None
    difference_to_previous: ItemGap | None = None
    compared_to: dict[str, ItemGap | None] = Field({})


class Separated(Comparisons):
    """Also the share of pairs of checkpoints whose intervals are apart, by task and metric."""

    separability: dict[str, float | None]


class Clean(Form):
    """The metrics over the items that no training row repeats; null for a metric that is no mean over items."""

    questions: int = Field(ge=0)
    left_out: int = Field(ge=0)
    metrics: dict[str, Metric | None]


class Task(Form):
    """A task's metrics: `metric`, or `metric (filter)`."""

    metrics: dict[str, Compared]
    version: float | str | None
    questions: int = Field(ge=0)
    clean: Clean


class Asked(Form):
    """How a task was asked."""

    num_fewshot: int | None = Field(
        ge=0, description="Solved examples that the harness says it showed; null if the tasks of a group differ."
    )
    chat_template: bool
    system: str | None = Field(description="The system text that was sent; null if none was.")
    limit: int | None


class Expected(Form):
    """The published scores: where they are from, and a line for each that ours differ from."""

    source: str
    differ: list[str]


class HarnessReport(Report):
    """All tasks of every checkpoint, with standard errors."""

    method: ClassVar[str] = "harness"
    marks: ClassVar[frozenset[str]] = frozenset({"num_fewshot", "checkpoints"})

    evaluation: str
    num_fewshot: int | None = Field(ge=0, description="As the recipe says it; null leaves it to each task's file.")
    tasks: dict[str, Asked] = Field({}, description="How each was asked; results of earlier versions don't say it.")
    order: list[str] = Field(description="Differences are to the first, and to the previous one.")
    comparisons: Separated
    checkpoints: dict[str, dict[str, Task]]
    expected: Expected | None = None

    def scores(self, evaluation: str) -> Iterator[Score]:
        """Every metric of every task; a task's main one is a share, or the only one of an only task."""
        for checkpoint in sorted(self.checkpoints, key=self.order.index):
            tasks = self.checkpoints[checkpoint]
            for name, task in tasks.items():
                chosen = main(task) or (next(iter(task.metrics), None) if len(tasks) == 1 else None)
                for metric, one in task.metrics.items():
                    low, high = ends(metric, one.score, one.standard_error, task.questions)
                    yield Score(
                        evaluation,
                        self.method,
                        checkpoint,
                        f"{name}: {metric}",
                        one.score,
                        low,
                        high,
                        task.questions,
                        withheld=one.why,
                        main=metric == chosen,
                    )

    def asked(self, checkpoint: str, metric: str) -> dict[str, Any]:
        """How the metric's task was asked, and its version."""
        task = next(name for name in self.checkpoints[checkpoint] if metric.startswith(f"{name}: "))
        return {"version": self.checkpoints[checkpoint][task].version} | self._settings(task)

    def _settings(self, task: str) -> dict[str, Any]:
        return self.tasks[task].model_dump() if task in self.tasks else {"num_fewshot": self.num_fewshot}


def main(task: Task) -> str | None:
    """The task's metric that counts in an average over tasks, if it has one."""
    labels = [(MAIN.index(name), label) for label in task.metrics if (name := _name(label)) in MAIN]
    return min(labels)[1] if labels else None


def ends(label: str, score: float | None, error: float | None, questions: int) -> tuple[float | None, float | None]:
    """The 95 % interval of a metric from its standard error; none if the error isn't known.

    That of a share is Wilson's (1927), with as many right or wrong answers as have this error: of a metric that is
    right or wrong, these are the questions. So it stays between 0 and 1, and holds the truth near them, too. Equal
    scores of all questions have no spread: if all are 0 or 1, another mean up to the point where that has a chance of
    2.5 % is possible (Clopper and Pearson 1934); else nothing is known.

    Args:
        label: The metric's name in the report.
        score: None if it isn't a finite number.
        error: Its standard error.
        questions: Their number.
    """
    if score is None or error is None:
        return None, None
    if not (_name(label) in SHARES and 0 <= score <= 1):
        return (score - NORMAL * error, score + NORMAL * error) if error else (None, None)
    if error:
        return _wilson(score, score * (1 - score) / error**2 + 1)
    if not questions or score not in (0, 1):
        return None, None
    reach = 1 - 0.025 ** (1 / questions)
    return (0.0, reach) if score == 0 else (1 - reach, 1.0)


def _wilson(share: float, number: float) -> tuple[float, float]:
    """Wilson's interval of a share of so many independent answers."""
    weight = NORMAL**2 / number
    centre = (share + weight / 2) / (1 + weight)
    reach = math.sqrt(weight * share * (1 - share) + weight**2 / 4) / (1 + weight)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def _name(label: str) -> str:
    return label.partition(" (")[0]
