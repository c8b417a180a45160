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
from bezoar.steps.evaluate import mtbench
from bezoar.steps.evaluate.agreement import Agreement
from bezoar.steps.evaluate.kappa import jackknifed, spearman, weighted_kappa
from bezoar.steps.evaluate.mtbench import VerdictRow
from bezoar.steps.evaluate.stats import Estimate, stratified_mean
from bezoar.steps.results.agreement import AgreementReport
from bezoar.steps.results.write import write

RANGE = mtbench.SCALE[1] - mtbench.SCALE[0]
Array = NDArray[np.float64]
JUDGE = ("id", "backend", "models_returned", "parser", "prompts_sha256", "references_sha256")  # of a report's `judge`
STATE = ("protocol", "judge_compromised", "controls_that_failed", "no_score")


def ratings(verdicts: Mapping[str, list[VerdictRow]], questions: list[QuestionRow]) -> Array:
    """(questions, checkpoints x turns) means over repeats; NaN for no rating, and for an empty answer."""
    tables = []
    for rows in verdicts.values():
        said = [row for row in rows if not row.answer_empty]
        tables.append(mtbench.cells(said, questions, strict=True))
    return np.concatenate(tables, axis=1)


def counts(first: Array, second: Array) -> dict[str, int]:
    """Answers that both judges rated, only one, or neither."""
    one, two = ~np.isnan(first), ~np.isnan(second)
    found = {"both": one & two, "only_first": one & ~two, "only_second": ~one & two, "neither": ~one & ~two}
    return {name: int(where.sum()) for name, where in found.items()}


def compared(first: Array, second: Array, strata: list[str], block: Agreement, seed: int) -> dict[str, Any]:
    """How far two judges agree; a figure is None where it isn't defined."""
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
        "difference": mean(gap, (-RANGE, RANGE)),
    }


def shown(estimate: Estimate | None) -> dict[str, Any] | None:
    """An estimate as in all reports."""
    if estimate is None:
        return None
    return {name: None if one is None else round(one, 4) for name, one in asdict(estimate).items()}


def reported(
    verdicts: Mapping[str, Mapping[str, list[VerdictRow]]],
    reports: Mapping[str, Any],
    questions: list[QuestionRow],
    block: Agreement,
    seed: int,
) -> dict[str, Any]:
    """The report.

    Args:
        verdicts: By evaluation and checkpoint.
        reports: The evaluations' own reports.
        questions: The questions of all of them.
        block: The evaluation.
        seed: Seed of the intervals.
    """
    tables = {name: ratings(one, questions) for name, one in verdicts.items()}
    strata = [question.category for question in questions]
    return {
        "judges": {
            name: {key: one["judge"][key] for key in JUDGE} | {key: one[key] for key in STATE}
            for name, one in reports.items()
        },
        "checkpoints": list(block.checkpoints),
        "averages": {
            checkpoint: {name: one["models"][checkpoint]["average"] for name, one in reports.items()}
            for checkpoint in block.checkpoints
        },
        "pairs": [{"evals": [a, b], **compared(tables[a], tables[b], strata, block, seed)} for a, b in block.pairs()],
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
    judgments: Path, reports: list[Path], questions_path: Path, block: Agreement, seed: int, out: Path
) -> None:
    """Write the judges side by side, and log a line for each pair.

    Args:
        judgments: Folder with <eval>/<checkpoint>/verdicts.jsonl.
        reports: The evaluations' reports, <eval>.json.
        questions_path: rows.jsonl of the questions.
        block: The evaluation.
        seed: Seed of the intervals.
        out: File to write to.
    """
    verdicts = {
        name: {one: list(read_rows(judgments / name / one / "verdicts.jsonl", VerdictRow)) for one in block.checkpoints}
        for name in block.evals
    }
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in reports}
    report = reported(verdicts, found, mtbench.read_questions(questions_path), block, seed)
    write(out, {"evaluation": out.stem, **report}, AgreementReport)
    for pair in report["pairs"]:
        logger.info(line_of(pair))
    for name, one in report["judges"].items():
        if one["no_score"] or one["judge_compromised"]:
            why = one["no_score"] or f"it rewards {', '.join(one['controls_that_failed'])}"
            logger.warning(f"the judge of {name} can't be trusted: {why}")
