"""Scores of single items, so that two checkpoints are compared on the same ones."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pydantic import Field

from bezoar.steps.data.lines import Line, Read, lines
from bezoar.steps.evaluate.pairwise import GameRow
from bezoar.steps.results.checklist import ChecklistReport
from bezoar.steps.results.graded import GradedReport
from bezoar.steps.results.harness import HarnessReport
from bezoar.steps.results.likelihood import LikelihoodReport
from bezoar.steps.results.mtbench import MtbenchReport
from bezoar.steps.results.pairwise import PairwiseReport
from bezoar.steps.results.report import Report
from bezoar.steps.results.rubric import RubricReport

Place = tuple[str, str]  # cluster of items that aren't independent, and a part of it
ALL = "all"  # the stratum of items that have none


@dataclass
class Items:
    """Scores by item.

    Attributes:
        scores: By place: the sum of its scores, and their number.
        strata: By cluster, its stratum, of which the evaluation has a fixed number; ALL by default.
        bounds: The smallest and the largest difference of two scores.
    """

    scores: dict[Place, tuple[float, float]] = field(default_factory=dict)
    strata: dict[str, str] = field(default_factory=dict)
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @property
    def mean(self) -> float:
        """The mean of all scores."""
        return math.fsum(total for total, _ in self.scores.values()) / sum(n for _, n in self.scores.values())


class _Verdict(Line):
    question_id: int
    turn: int
    score: float | None
    answer_empty: bool = False


class _Question(Line):
    question_id: int
    category: str


class _Item(Line):
    task: str
    id: str | int
    filter: str
    scores: dict[str, float]


class _Answer(Line):
    mix: str
    id: str
    family: str
    tokens: int = Field(ge=1)
    loglikelihood: float


def _mtbench(report: MtbenchReport, evaluation: str, checkpoint: str, read: Read) -> dict[str, Items]:
    """The verdicts on a checkpoint."""
    return _graded(report, f"data/judgments/{evaluation}/{checkpoint}/verdicts.jsonl", read, 9.0)


def _checklist(report: ChecklistReport, evaluation: str, checkpoint: str, read: Read) -> dict[str, Items]:
    """The checks of a checkpoint's answers."""
    return _graded(report, f"data/checks/{evaluation}/{checkpoint}/checks.jsonl", read, 9.0)


def _rubric(report: RubricReport, evaluation: str, checkpoint: str, read: Read) -> dict[str, Items]:
    """The gradings of a checkpoint's answers."""
    return _graded(report, f"data/gradings/{evaluation}/{checkpoint}/gradings.jsonl", read, 4.0)


def _graded(report: GradedReport, path: str, read: Read, most: float) -> dict[str, Items]:
    """Scores of answers by a judge: an empty answer scores 1. `most`: the largest difference."""
    verdicts = lines(_Verdict, path, read)
    category = _categories(report.questions.source, read)
    found: dict[str, Items] = {}
    for one in verdicts or []:
        score = 1.0 if one.answer_empty else one.score
        if score is None:
            continue
        cluster, turn = str(one.question_id), str(one.turn)
        for name in ("average", f"turn {turn}", *([category[cluster]] if cluster in category else [])):
            items = found.setdefault(name, Items(strata=category, bounds=(-most, most)))
            total, count = items.scores.get((cluster, turn), (0.0, 0.0))
            items.scores[cluster, turn] = (total + score, count + 1)
    for items in found.values():  # repeats, or a checklist's parts, are no items of their own
        items.scores = {place: (total / count, 1.0) for place, (total, count) in items.scores.items()}
    return found


def _categories(source: str, read: Read) -> dict[str, str]:
    """The category of each question."""
    questions = lines(_Question, f"data/source/{source}/rows.jsonl", read)
    return {str(one.question_id): one.category for one in questions or []}


def _pairwise(report: PairwiseReport, evaluation: str, checkpoint: str, read: Read) -> dict[str, Items]:
    """The games of a checkpoint; none if some count more than others, since their mean isn't the win rate then."""
    if report.judge.strong_weight != 1:
        return {}
    category = _categories(report.questions.source, read)
    found: dict[str, Items] = {}
    for one in lines(GameRow, f"data/comparisons/{evaluation}/{checkpoint}/verdicts.jsonl", read) or []:
        cluster = str(one.question_id)
        for name in ("win rate", f"turn {one.turn}", *([category[cluster]] if cluster in category else [])):
            if one.points is not None:
                items = found.setdefault(name, Items(strata=category, bounds=(-1.0, 1.0)))
                items.scores[cluster, f"{one.turn} {one.game} {one.sample_index}"] = (one.points, 1.0)
    return found


def _harness(report: HarnessReport, evaluation: str, checkpoint: str, read: Read) -> dict[str, Items]:
    """The documents of each task, for metrics that are means over them."""
    found: dict[str, Items] = {}
    for task, one in report.checkpoints[checkpoint].items():
        rows = lines(_Item, f"data/harness/{evaluation}/{checkpoint}/{task}/items.jsonl", read)
        made: dict[str, Items] = {}
        for item in rows or []:
            for name, score in item.scores.items():
                label = name if item.filter == "none" else f"{name} ({item.filter})"
                made.setdefault(label, Items()).scores[f"{item.task}/{item.id}", ""] = (score, 1.0)
        for label, items in made.items():
            whole = one.metrics[label].score if label in one.metrics else None
            if whole is not None and math.isclose(items.mean, whole, abs_tol=1e-5):
                share = all(0 <= score <= 1 for score, _ in items.scores.values())
                items.bounds = (-1.0, 1.0) if share else items.bounds
                found[f"{task}: {label}"] = items
    return found


def _likelihood(report: LikelihoodReport, evaluation: str, checkpoint: str, read: Read) -> dict[str, Items]:
    """The held-out answers by mix; those of one family aren't independent."""
    found: dict[str, Items] = {}
    for one in lines(_Answer, f"data/likelihood/{evaluation}/{checkpoint}/scores.jsonl", read) or []:
        items = found.setdefault(f"{one.mix}: nats/token", Items())
        items.scores[one.family, one.id] = (one.loglikelihood, float(one.tokens))
    return found


READERS: dict[type[Report], Callable[..., dict[str, Items]]] = {
    MtbenchReport: _mtbench,
    ChecklistReport: _checklist,
    RubricReport: _rubric,
    PairwiseReport: _pairwise,
    HarnessReport: _harness,
    LikelihoodReport: _likelihood,
}


def items_of(report: Report, evaluation: str, checkpoint: str, read: Read) -> dict[str, Items]:
    """By metric, the scores of a checkpoint's items, as far as there are any.

    Raises:
        BezoarError: They are on record, but can't be read.
    """
    reader = READERS.get(type(report))
    return reader(report, evaluation, checkpoint, read) if reader else {}


def common(one: Items, other: Items) -> Iterator[tuple[str, float, float]]:
    """The differences of two checkpoints by cluster, each with its number of scores; of the places that both have.

    Raises:
        ValueError: A place has other numbers of scores: they count different things, such as tokens.
    """
    totals: dict[str, tuple[float, float]] = {}
    for place in one.scores.keys() & other.scores.keys():
        (mine, count), (theirs, others) = one.scores[place], other.scores[place]
        if count != others:
            raise ValueError("their tokens differ")
        total, number = totals.get(place[0], (0.0, 0.0))
        totals[place[0]] = (total + theirs - mine, number + count)
    for cluster in sorted(totals):
        yield (cluster, *totals[cluster])
