"""The report of judges side by side: every checkpoint's average by each judge, and how far the judges agree."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bezoar.logs import logger
from bezoar.steps.data.rows import QuestionRow, read_rows
from bezoar.steps.evaluate.agreement import Agreement
from bezoar.steps.evaluate.gate import MTBENCH, Rating
from bezoar.steps.evaluate.kappa import jackknifed, spearman, weighted_kappa
from bezoar.steps.evaluate.nulls import METHODS
from bezoar.steps.evaluate.stats import Estimate, stratified_mean
from bezoar.steps.results.agreement import AgreementReport
from bezoar.steps.results.write import write

# By file of grades, the method that made it.
FILES = {"verdicts.jsonl": MTBENCH, "gradings.jsonl": METHODS["rubric"], "checks.jsonl": METHODS["checklist"]}
Array = NDArray[np.float64]
JUDGE = ("id", "backend", "models_returned", "parser", "prompts_sha256")  # of a report's `judge`
STATE = ("protocol", "judge_compromised", "controls_that_failed", "no_score")


def ratings(by_checkpoint: Mapping[str, list[Any]], questions: list[QuestionRow], method: Rating) -> Array:
    """(questions, checkpoints x turns) means over repeats or items; NaN for no rating, and for an empty answer."""
    tables = []
    for rows in by_checkpoint.values():
        said = [row for row in rows if not row.answer_empty]
        tables.append(method.cells(said, questions, strict=True))
    return np.concatenate(tables, axis=1)


def counts(first: Array, second: Array) -> dict[str, int]:
    """Answers that both judges rated, only one, or neither."""
    one, two = ~np.isnan(first), ~np.isnan(second)
    found = {"both": one & two, "only_first": one & ~two, "only_second": ~one & two, "neither": ~one & ~two}
    return {name: int(where.sum()) for name, where in found.items()}


def compared(
    first: Array, second: Array, strata: list[str], block: Agreement, seed: int, span: float
) -> dict[str, Any]:
    """How far two judges agree on a scale with a span; a figure is None where it isn't defined."""
    gap = second - first
    rated = counts(first, second)
    given = sum(rated.values()) - rated["neither"]

    def mean(cells: Array, bounds: tuple[float, float]) -> dict[str, Any] | None:
        if np.isnan(cells).all():
            return None
        return shown(stratified_mean(cells, strata, block.bootstrap_samples, seed, bounds))

    def near(most: float) -> Array:
        return np.where(np.isnan(gap), np.nan, (np.abs(gap) <= most).astype(float))

    equal = near(0)
    return {
        "rated": rated,
        "agreement": mean(equal, (0.0, 1.0)),
        "agreement_if_missing_differ": round(float(np.nansum(equal)) / given, 4) if given else None,
        "within_one": mean(near(1), (0.0, 1.0)),
        "weighted_kappa": shown(jackknifed(weighted_kappa, first, second)),
        "spearman": shown(jackknifed(spearman, first, second)),
        "difference": mean(gap, (-span, span)),
    }


def shown(estimate: Estimate | None) -> dict[str, Any] | None:
    """An estimate as in all reports."""
    if estimate is None:
        return None
    return {name: None if one is None else round(one, 4) for name, one in asdict(estimate).items()}


def judge_of(report: Any) -> dict[str, Any]:
    """A judge's identity and state by the report of its evaluation."""
    judge = report["judge"]
    criteria = report.get("rubric") or report.get("checklists")
    shown_to = {
        "references_sha256": judge.get("references_sha256"),  # a checklist has none
        "criteria_sha256": criteria and criteria["sha256"],
    }
    return {key: judge[key] for key in JUDGE} | {key: report[key] for key in STATE} | shown_to


def reported(
    grades: Mapping[str, Mapping[str, list[Any]]],
    reports: Mapping[str, Any],
    questions: list[QuestionRow],
    method: Rating,
    block: Agreement,
    seed: int,
) -> dict[str, Any]:
    """The report.

    Args:
        grades: By evaluation and checkpoint.
        reports: The evaluations' own reports.
        questions: The questions of all of them.
        method: Theirs.
        block: The evaluation.
        seed: Seed of the intervals.
    """
    tables = {name: ratings(one, questions, method) for name, one in grades.items()}
    strata, span = [question.category for question in questions], method.scale[1] - method.scale[0]
    return {
        "judges": {name: judge_of(one) for name, one in reports.items()},
        "checkpoints": list(block.checkpoints),
        "averages": {
            checkpoint: {name: one["models"][checkpoint]["average"] for name, one in reports.items()}
            for checkpoint in block.checkpoints
        },
        "pairs": [
            {"evals": [a, b], **compared(tables[a], tables[b], strata, block, seed, span)} for a, b in block.pairs()
        ],
        "questions": len(questions),
        "seed": seed,
    }


def line_of(pair: dict[str, Any]) -> str:
    """A pair's line in the log."""
    said = []
    for key in ("agreement", "weighted_kappa", "spearman", "difference"):
        one = pair[key]
        ends = "" if one is None or one["low"] is None else f" [{one['low']:.2f}, {one['high']:.2f}]"
        said.append(f"{key} {'not defined' if one is None else format(one['mean'], '.2f')}{ends}")
    return f"{' and '.join(pair['evals'])}: {', '.join(said)}, {pair['rated']['both']:,} answers rated by both"


def write_report(
    grades: list[Path], reports: list[Path], questions_path: Path, block: Agreement, seed: int, out: Path
) -> None:
    """Write the judges side by side, and log a line for each pair.

    Args:
        grades: Each evaluation's grades of each checkpoint, <eval>/<checkpoint>/<file>, of one method.
        reports: The evaluations' reports, <eval>.json.
        questions_path: rows.jsonl of the questions.
        block: The evaluation.
        seed: Seed of the intervals.
        out: File to write to.
    """
    method = FILES[grades[0].name]
    rows = {(path.parts[-3], path.parts[-2]): list(read_rows(path, method.row)) for path in grades}
    given = {name: {one: rows[name, one] for one in block.checkpoints} for name in block.evals}
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in reports}
    report = reported(given, found, method.questions(questions_path), method, block, seed)
    write(out, {"evaluation": out.stem, **report}, AgreementReport)
    for pair in report["pairs"]:
        logger.info(line_of(pair))
    for name, one in report["judges"].items():
        if one["no_score"] or one["judge_compromised"]:
            why = one["no_score"] or f"it rewards {', '.join(one['controls_that_failed'])}"
            logger.warning(f"the judge of {name} can't be trusted: {why}")
