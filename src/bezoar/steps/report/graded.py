"""The part of a report that methods share that grade every answer by itself: scores with intervals, and failures.

Rows of grades are of each method's own type, `Rating.row`.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.errors import BezoarError
from bezoar.files import rounded, sha256
from bezoar.logs import logger
from bezoar.steps.data.rows import QuestionRow, read_rows
from bezoar.steps.evaluate import gate, grades
from bezoar.steps.evaluate.evaluation import QUESTIONS
from bezoar.steps.evaluate.gate import Rating
from bezoar.steps.evaluate.graded import GradedEval
from bezoar.steps.evaluate.mtbench import Mtbench, one_judge
from bezoar.steps.evaluate.significance import p_value, separability, within_item_spread
from bezoar.steps.evaluate.stats import stratified_mean
from bezoar.steps.report import differences as between
from bezoar.steps.report.clean import LeftOut
from bezoar.steps.results.graded import NO_RATING
from bezoar.steps.results.report import Report
from bezoar.steps.results.write import write

Cells = NDArray[np.float64]  # (questions, turns)
Line = Callable[[str, dict[str, Any]], tuple[int, str]]
Grades = dict[str, list[Any]]  # by checkpoint or control


@dataclass(frozen=True)
class Table:
    """Scores of one evaluation.

    Attributes:
        questions: In the order of all cells.
        block: The evaluation.
        method: How it scores.
        seed: Seed of the intervals.
    """

    questions: list[QuestionRow]
    block: GradedEval | Mtbench
    method: Rating
    seed: int

    @property
    def categories(self) -> list[str]:
        """Of the questions."""
        return [question.category for question in self.questions]

    @property
    def distance(self) -> tuple[float, float]:
        """The smallest and the largest difference of two scores."""
        low, high = self.method.scale
        return low - high, high - low

    def cells(self, rows: list[Any], missing: float = np.nan) -> Cells:
        """A model's scores, with the lowest one for empty answers."""
        found: Cells = self.method.cells(rows, self.questions, strict=True, missing=missing)
        return found

    def mean(
        self, cells: Cells, names: list[str], bounds: tuple[float, float] | None = None, draws: int | None = None
    ) -> dict[str, Any] | None:
        """The mean with its 95 % interval; None without any score."""
        if np.isnan(cells).all():
            return None
        draws = draws or self.block.bootstrap_samples
        estimate = stratified_mean(cells, names, draws, self.seed, bounds or self.method.scale)
        return {name: None if one is None else round(one, 4) for name, one in asdict(estimate).items()}

    def entry(self, rows: list[Any]) -> dict[str, Any]:
        """A model's scores and counts."""
        cells, categories = self.cells(rows), self.categories
        places = {one: [n for n, name in enumerate(categories) if name == one] for one in sorted(set(categories))}
        needed = grades.needed(rows)
        missing = [row for row in needed if row.score is None]
        unspoken = self.cells([row for row in rows if not speaks(row)])
        return {
            "average": self.mean(cells, categories),
            "withheld": gate.no_score({"": missing}) if np.isnan(cells).all() else None,
            "missing": self.bounds(rows) | {"gradings": len(missing)},
            "turns": {str(n + 1): self.mean(cells[:, [n]], categories) for n in range(cells.shape[1])},
            "categories": {one: self.mean(cells[rows_of], [one] * len(rows_of)) for one, rows_of in places.items()},
            "gradings": len(rows),
            "status": dict(sorted(Counter(row.status for row in rows).items())),
            "empty_answers": len({(row.question_id, row.turn) for row in rows if row.answer_empty}),
            "answers_with_delimiter_or_rating": len({(row.question_id, row.turn) for row in rows if speaks(row)}),
            "without_delimiters_or_ratings": self.mean(unspoken, categories),
            "complete": not missing,
        }

    def difference(self, cells: Cells, others: Cells, draws: int) -> dict[str, Any] | None:
        """The paired difference to another checkpoint with its p-value; None without a common score."""
        found = self.mean(cells - others, self.categories, self.distance, draws)
        if found is None:
            return None
        p = p_value(cells - others, self.categories, draws, self.seed, self.distance)
        return found | {"p": rounded(p)}

    def to_first(self, cells: Cells, first: Cells) -> dict[str, Any]:
        """A control's difference to the first checkpoint, which is none of the report's comparisons."""
        found = self.mean(cells - first, self.categories, self.distance)
        gap = {"to": self.block.checkpoints[0]} | found if found else None
        return {"difference_to_first": gap, "difference_to_previous": None}

    def bounds(self, rows: list[Any]) -> dict[str, float | None]:
        """The mean if every grading without a score had the lowest, or the highest one."""
        means = [float(np.nanmean(self.cells(rows, missing=score))) for score in self.method.scale]
        return {"mean_if_lowest": round(means[0], 4), "mean_if_highest": round(means[1], 4)}

    def clean(self, rows: list[Any], gone: set[tuple[str, str]]) -> dict[str, Any]:
        """The average over the questions that no training row repeats, with the questions that are left out."""
        out = [row.question_id for row in self.questions if (QUESTIONS, str(row.question_id)) in gone]
        places = [place for place, row in enumerate(self.questions) if row.question_id not in out]
        cells = self.cells(rows)[places]
        average = self.mean(cells, [self.categories[place] for place in places]) if places else None
        why = None if average else NO_RATING if places else "training rows repeat every question"
        return {"average": average, "withheld": why, "questions": len(places), "left_out": out}

    def not_above(self, by_model: Mapping[str, list[Any]]) -> list[str]:
        """Checkpoints that aren't clearly better than every control: they may be untrained."""
        cells = {name: self.cells(rows) for name, rows in by_model.items()}

        def above(name: str, control: str) -> bool:
            found = self.mean(cells[name] - cells[control], self.categories, self.distance)
            return found is not None and found["low"] is not None and found["low"] > 0

        controls = self.block.control_names()
        return [one for one in self.block.checkpoints if not all(above(one, control) for control in controls)]


def speaks(row: Any) -> bool:
    """Whether an answer speaks to the judge."""
    return row.answer_has_delimiter or row.answer_has_rating


def within_item_sd(rows: list[Any]) -> float | None:
    """The judge's noise: the standard deviation of repeated gradings of one answer; None without repeats."""
    by_answer: dict[tuple[int, int], list[float]] = defaultdict(list)
    for row in rows:
        if row.score is not None:
            by_answer[row.question_id, row.turn].append(row.score)
    found = within_item_spread(list(by_answer.values()))
    return None if found is None else round(found, 4)


def grades_below(folder: Path, file: str, table: Table) -> Grades:
    """The grades of every checkpoint and control."""
    return {name: list(read_rows(folder / name / file, table.method.row)) for name in table.block.judged()}


def reported(by_model: Grades, table: Table, protocol: str, left_out: LeftOut) -> dict[str, Any]:
    """The report, without what one method alone says.

    Raises:
        BezoarError: The judge is compromised, and `allow_compromised` isn't set.
        ValueError: Several judges graded the models.
    """
    block, seed = table.block, table.seed
    controls = {name: by_model[name] for name in block.control_names()}
    failed = gate.failures(controls, table.questions, seed, table.method)
    if failed and not block.allow_compromised:
        raise BezoarError(gate.refusal(controls, failed, table.method))
    judge = one_judge(by_model)
    unread = gate.unreadable(by_model)
    cells = {name: table.cells(rows) for name, rows in by_model.items()}
    entries = {name: table.entry(rows) for name, rows in by_model.items()}
    draws = between.draws_of(block, 1, block.bootstrap_samples)
    gaps, comparisons = between.differences(
        block, [""], lambda _, name, other: table.difference(cells[name], cells[other], draws)
    )
    for name in block.checkpoints:
        entries[name] |= gaps[""][name] | {"clean": table.clean(by_model[name], left_out.get(name, set()))}
    for name in controls:
        entries[name] |= table.to_first(cells[name], cells[block.checkpoints[0]])
    averages = [one for name in block.checkpoints if (one := entries[name]["average"])]
    returned = sorted({row.model_returned for rows in by_model.values() for row in rows})
    return {
        "protocol": protocol,
        "scale": list(table.method.scale),
        "judge": {"id": judge, "models_returned": returned},
        "questions": {
            "answers": block.answers,
            "count": len(table.questions),
            "categories": dict(sorted(Counter(table.categories).items())),
        },
        "checkpoints": list(block.checkpoints),  # in order: comparisons are with the first, and with the previous one
        "no_score": gate.no_score(by_model) if unread else None,
        "judge_compromised": bool(failed) and not unread,
        "controls_that_failed": [] if unread else sorted(failed),
        "why_compromised": {} if unread else dict(sorted(failed.items())),
        "not_above_controls": [] if unread else table.not_above(by_model),
        "separability": rounded(separability([(one["low"], one["high"]) for one in averages])),
        "comparisons": comparisons,
        "models": {name: entries[name] for name in block.checkpoints},
        "controls": {name: entries[name] for name in controls},
        "seed": seed,
    }


def line_of(
    name: str, one: dict[str, Any], unit: str = "gradings", ends: tuple[str, str] = ("lowest", "highest")
) -> tuple[int, str]:
    """A model's line in the log, and the line's level.

    Args:
        name: The model's name.
        one: Its entry.
        unit: What the entry counts.
        ends: How the entry calls the lowest and the highest score.
    """
    average, gaps = one["average"], one["missing"]
    text = f"{name}: no score: {one['withheld']}" if average is None else f"{name}: {average['mean']:.2f}"
    if average and average["low"] is not None:
        text += f" [{average['low']:.2f}, {average['high']:.2f}]"
    if not gaps[unit]:
        return logging.INFO, text
    statuses = ", ".join(f"{count} {status}" for status, count in one["status"].items() if status != "ok")
    means = " to ".join(f"{gaps[f'mean_if_{end}']:.2f}" for end in ends)
    bounds = f"{means} if they were {' or '.join(ends)}"
    return (
        logging.WARNING,
        f"{text}; {gaps[unit]} of {one[unit]} {unit} without a score ({statuses}): {bounds}",
    )


def finish(report: dict[str, Any], form: type[Report], questions_path: Path, out: Path, line: Line = line_of) -> None:
    """Write a report in its form, and log a line for each model and what is wrong."""
    report["questions"] |= {"source": questions_path.parent.name, "sha256": sha256(questions_path)}
    write(out, report, form)
    for name, one in (report["models"] | report["controls"]).items():
        logger.log(*line(name, one))
    if report["no_score"]:
        logger.warning(f"no score: {report['no_score']}")
    for name, why in report.get("why_compromised", {}).items():
        logger.warning(f"the judge is compromised: {name}: {why}")
    if report["not_above_controls"]:
        logger.warning(f"not clearly above every control: {', '.join(report['not_above_controls'])}")
